"""Readers of true page texts: SROIE lines, plain text, hOCR, and our own reviewed rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import ConfigError
from pipelines.page_errors import Box, TextLine
from pipelines.truth import PageTruth

_HOCR = frozenset({".hocr", ".html", ".htm", ".xhtml"})
_PAGE = re.compile(r"(.+)\.page(\d+)$")
#: Eight coordinates and the text, which may hold commas itself.
_BOXED = re.compile(r"\s*((?:-?\d+(?:\.\d+)?\s*,\s*){8})(.*)$")
_VERDICTS = frozenset({"accept", "correct", "reject"})

FORMATS = (
    "NAME.csv (x1,y1,...,x4,y4,text), NAME.txt or NAME.pageN.txt (text), NAME.hocr, or Parquet of "
    "reviewed rows"
)


def read_truth(path: Path) -> list[PageTruth]:
    """The pages of a truth file, or of all truth files below a directory.

    * ``.csv``, ``.txt``: SROIE, one line a row ``x1,y1,...,x4,y4,text`` in pixels of the page; a
      ``.txt`` that is not of this form is plain text, its lines in any order. UTF-8, or else
      Latin-1. An empty file is a blank page.
    * ``.hocr``, ``.html``: each `ocr_page`, with the boxes of its lines.
    * ``.parquet``: `row_id`, `verdict`, `text` as `pipelines.review_import.REVIEWED`; the last
      answer of a row counts (by `reviewed_at`, if that is there).

    Raises ConfigError if there is nothing, or a file is not what its name says.
    """
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.is_file() and _reads(one))
        pages = [page for one in files for page in _pages(one, path)]
    elif path.is_file() and _reads(path):
        pages = list(_pages(path, path.parent))
    else:
        raise ConfigError(f"no truth at {path}", f"give a directory or a file of {FORMATS}")
    if not pages:
        raise ConfigError(f"{path} holds no truth", f"it is made of {FORMATS}")
    return _last_answers(pages)


def _reads(path: Path) -> bool:
    return path.suffix.lower() in {".csv", ".txt", ".parquet"} | _HOCR


def _pages(path: Path, root: Path) -> Iterator[PageTruth]:
    name = path.relative_to(root).with_suffix("").as_posix()
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            yield from _reviewed(path)
        elif kind in _HOCR:
            yield from _hocr(path, name)
        else:
            yield _text(path, name)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"cannot read truth {path}: {error}") from None


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _text(path: Path, name: str) -> PageTruth:
    numbered = _PAGE.match(name)
    name, page = (numbered[1], int(numbered[2])) if numbered else (name, None)
    rows = [row for row in _decoded(path).splitlines() if row.strip()]
    boxed = [_BOXED.match(row) for row in rows]
    if path.suffix.lower() == ".txt" and not all(boxed):
        lines = tuple(TextLine(row) for row in rows)
        return PageTruth(str(path), lines, name, page)
    for row, found in zip(rows, boxed, strict=True):
        if not found:
            raise ConfigError(
                f"{path} has a line that is not x1,y1,x2,y2,x3,y3,x4,y4,text: {row[:60]!r}",
                "mend the line, or name a file of plain text NAME.txt",
            )
    lines = tuple(_boxed(found) for found in boxed if found)
    return PageTruth(str(path), lines, name, page)


def _boxed(found: re.Match[str]) -> TextLine:
    numbers = [float(number) for number in found[1].split(",")[:8]]
    xs, ys = numbers[::2], numbers[1::2]
    return TextLine(found[2], (min(xs), min(ys), max(xs), max(ys)))


def _reviewed(path: Path) -> Iterator[PageTruth]:
    file = pq.ParquetFile(path)
    lacking = {"row_id", "verdict", "text"} - set(file.schema_arrow.names)
    if lacking:
        raise ConfigError(
            f"{path} holds no reviewed rows: it lacks {', '.join(sorted(lacking))}",
            "nightjar review import writes them into RUN/reviewed",
        )
    wanted = ("row_id", "verdict", "text", "reviewed_at")
    names = [name for name in wanted if name in file.schema_arrow.names]
    for row in file.read(columns=names).to_pylist():
        if row["verdict"] not in _VERDICTS:
            raise ConfigError(
                f"{path}, row {row['row_id']}: no verdict is {row['verdict']!r}",
                f"there are {', '.join(sorted(_VERDICTS))}",
            )
        if row["text"] is None and row["verdict"] != "reject":
            continue  # an image: its truth is labels
        text = row["text"] or ""
        yield PageTruth(
            where=f"{path} row {row['row_id']}",
            lines=tuple(TextLine(line) for line in text.splitlines() if line.strip()),
            row_id=row["row_id"],
            verdict=row["verdict"],
            answered=row.get("reviewed_at") or "",
        )


def _last_answers(pages: list[PageTruth]) -> list[PageTruth]:
    answers = [page for page in pages if page.row_id is not None]
    last = {page.row_id: page for page in sorted(answers, key=lambda page: page.answered)}
    return [page for page in pages if page.row_id is None] + list(last.values())


def _hocr(path: Path, name: str) -> Iterator[PageTruth]:
    reader = HocrReader()
    reader.feed(_decoded(path))
    reader.close()
    if not reader.pages:
        raise ConfigError(f"{path} holds no ocr_page", "hOCR marks pages with class='ocr_page'")
    images = {page.image for page in reader.pages}
    own_files = len(images) == len(reader.pages) > 1 and None not in images
    for number, page in enumerate(reader.pages, 1):
        yield PageTruth(
            where=f"{path} page {number}",
            lines=tuple(page.lines),
            name=page.image if own_files else name,
            page=None if own_files or len(reader.pages) == 1 else page.number or number,
            size=(page.box[2] - page.box[0], page.box[3] - page.box[1]) if page.box else None,
        )


class HocrPage:
    """One `ocr_page`: its box and image as its title says, and the lines in it."""

    def __init__(self, title: str) -> None:
        image = re.search(r"""image\s+(?:"([^"]*)"|'([^']*)'|([^\s;]+))""", title)
        number = re.search(r"\bppageno\s+(\d+)", title)
        found = next((one for one in image.groups() if one), None) if image else None
        self.image = PurePosixPath(found.replace("\\", "/")).name if found else None
        self.number = int(number[1]) + 1 if number else None
        self.box = _bbox(title)
        self.lines: list[TextLine] = []


class HocrReader(HTMLParser):
    """Pages and lines of an hOCR document; a line is its words, whatever markup is around them."""

    _LINES = frozenset({"ocr_line", "ocr_header", "ocr_caption", "ocr_textfloat"})
    _VOID = frozenset({"br", "hr", "img", "meta", "link", "input", "area", "base", "col", "wbr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pages: list[HocrPage] = []
        self._open: list[tuple[str, bool]] = []  # element, whether it is the current line
        self._box: Box | None = None
        self._text: list[str] | None = None  # of the line that is open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a page, a line, or anything else."""
        found = {name: value or "" for name, value in attrs}
        classes, title = set(found.get("class", "").split()), found.get("title", "")
        if "ocr_page" in classes:
            self.pages.append(HocrPage(title))
        starts = bool(classes & self._LINES) and self._text is None and bool(self.pages)
        if starts:
            self._text, self._box = [], self._on_page(_bbox(title))
        if tag not in self._VOID:
            self._open.append((tag, starts))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that is closed where it opens holds no text."""

    def handle_endtag(self, tag: str) -> None:
        """Close the element, and those inside it that were never closed."""
        if tag not in {name for name, _ in self._open}:
            return
        while self._open:
            name, is_line = self._open.pop()
            if is_line:
                self._end_line()
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        """Text counts inside a line only."""
        if self._text is not None:
            self._text.append(data)

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
    found = re.search(r"\bbbox\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)", title)
    if not found:
        return None
    x0, y0, x1, y1 = (float(number) for number in found.groups())
    return x0, y0, x1, y1
