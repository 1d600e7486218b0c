"""Extracts text lines from a fragment of HTML. Nothing is rendered, loaded or executed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

#: Elements that start and end a line.
_LINES = re.compile(
    "address|article|blockquote|br|caption|dd|div|dl|dt|figcaption|figure|footer|form|h[1-6]|header"
    "|hr|li|main|nav|ol|p|pre|section|table|tbody|tfoot|thead|tr|ul"
)
_CELLS = frozenset({"td", "th"})
_UNREAD = frozenset({"script", "style", "template"})
_AS_WRITTEN = frozenset({"pre", "code"})


def html_lines(html: str) -> list[str]:
    """The non-empty text lines of `html`. A table row is one line, with a space between cells.

    Formulas keep their source, and a ticked box becomes ``[x]``. Input without HTML is plain text.
    """
    parser = _Parser()
    parser.feed(html)
    parser.close()
    return parser.done()


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = []
        self._line = ""
        self._unread = 0
        self._as_written = 0

    def done(self) -> list[str]:
        self._end_line()
        return self._lines

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if _LINES.fullmatch(tag):
            self._end_line()
        elif tag in _CELLS:
            self._line += " "
        elif tag == "input" and dict(attrs).get("type") in ("checkbox", "radio"):
            self._line += "[x] " if "checked" in dict(attrs) else "[ ] "
        self._unread += tag in _UNREAD
        self._as_written += tag in _AS_WRITTEN

    def handle_endtag(self, tag: str) -> None:
        if _LINES.fullmatch(tag):
            self._end_line()
        self._unread = max(0, self._unread - (tag in _UNREAD))
        self._as_written = max(0, self._as_written - (tag in _AS_WRITTEN))

    def handle_data(self, data: str) -> None:
        if self._unread:
            return
        if not self._as_written:
            self._line += data.replace("\n", " ")
            return
        *whole, last = data.split("\n")
        for line in whole:
            self._line += line
            self._end_line()
        self._line += last

    def _end_line(self) -> None:
        line = " ".join(self._line.split())
        if line:
            self._lines.append(line)
        self._line = ""
