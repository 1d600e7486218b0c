"""hOCR: the text lines of each page, with their boxes.

It uses the tolerant HTML parser of the standard library, because hOCR files are XHTML, HTML or
neither. The parser ignores document types, so it expands no custom entities and loads no other
files.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import PurePosixPath

from pipelines.measures.character_errors import Box, TextLine

_LINES = frozenset({"ocr_line", "ocr_header", "ocr_caption", "ocr_textfloat"})
_VOID = frozenset({"br", "hr", "img", "meta", "link", "input", "area", "base", "col", "wbr"})
_UNSEEN = frozenset({"script", "style", "title"})


class HocrPage:
    """One `ocr_page`.

    Attributes:
        image: name of its image file, without folders; None: the title has none.
        number: page number from 1; None: the title has no `ppageno`.
        box: box of the page, pixels; None: the title has none.
        lines: text lines; their boxes are relative to the corner of the page.
        loose: whether there is text outside of lines.
    """

    def __init__(self, title: str) -> None:
        image = re.search(r"""image\s+(?:"([^"]*)"|'([^']*)'|([^\s;]+))""", title)
        number = re.search(r"\bppageno\s+(\d+)", title)
        found = next((one for one in image.groups() if one), None) if image else None
        self.image = PurePosixPath(found.replace("\\", "/")).name if found else None
        self.number = int(number[1]) + 1 if number else None
        self.box = _bbox(title)
        self.lines: list[TextLine] = []
        self.loose = False

    @property
    def size(self) -> tuple[float, float] | None:
        """Width and height in pixels; None: unknown."""
        return (self.box[2] - self.box[0], self.box[3] - self.box[1]) if self.box else None


def hocr_pages(document: str) -> list[HocrPage]:
    """The pages of a document, in order; empty if it is not hOCR."""
    reader = _Reader()
    reader.feed(document)
    reader.close()
    return reader.pages


class _Reader(HTMLParser):
    """Collects the text of each line, without the markup inside it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pages: list[HocrPage] = []
        self._open: list[tuple[str, bool]] = []  # element, whether it is the current line
        self._box: Box | None = None
        self._text: list[str] | None = None  # of the line that is open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a page, a line, or another element."""
        found = {name: value or "" for name, value in attrs}
        classes, title = set(found.get("class", "").split()), found.get("title", "")
        if "ocr_page" in classes:
            self._end_line()
            self.pages.append(HocrPage(title))
        starts = bool(classes & _LINES) and self._text is None and bool(self.pages)
        if starts:
            self._text, self._box = [], self._on_page(_bbox(title))
        if tag not in _VOID:
            self._open.append((tag, starts))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A self-closing element holds no text, but it can be a page."""
        if "ocr_page" in (dict(attrs).get("class") or "").split():
            self._end_line()
            self.pages.append(HocrPage(dict(attrs).get("title") or ""))

    def handle_endtag(self, tag: str) -> None:
        """Close the element, and the elements inside it that are still open."""
        if tag not in {name for name, _ in self._open}:
            return
        while self._open:
            name, is_line = self._open.pop()
            if is_line:
                self._end_line()
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        """Add text to the open line, or note that there is text outside of lines."""
        if self._text is not None:
            self._text.append(data)
        elif self.pages and data.strip() and not {name for name, _ in self._open} & _UNSEEN:
            self.pages[-1].loose = True

    def close(self) -> None:
        """The end of the document ends its last line."""
        super().close()
        self._end_line()

    def _end_line(self) -> None:
        if self._text is not None:
            text = " ".join("".join(self._text).split())
            if text:
                self.pages[-1].lines.append(TextLine(text, self._box))
        self._text = None

    def _on_page(self, box: Box | None) -> Box | None:
        page = self.pages[-1].box
        if box is None or page is None:
            return box
        return box[0] - page[0], box[1] - page[1], box[2] - page[0], box[3] - page[1]


def _bbox(title: str) -> Box | None:
    number = r"(-?\d+(?:\.\d+)?)"
    found = re.search(rf"\bbbox\s+{number}\s+{number}\s+{number}\s+{number}", title)
    if not found:
        return None
    x0, y0, x1, y1 = (float(one) for one in found.groups())
    return x0, y0, x1, y1
