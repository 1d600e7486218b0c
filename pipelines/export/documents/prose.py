"""Pages as plain text, Markdown and JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from pipelines.export.characters import escaped_json
from pipelines.export.page import ExportLine, ExportPage, paragraphs, rows_of

PageBreak = Literal["form-feed", "blank-line"]

#: Characters that are Markdown markup anywhere in a line, and at its start.
_INLINE = re.compile(r"([\\`*_\[\]<>&~|$])")
_AT_START = re.compile(r"^([#+=-]|\d{1,9}(?=[.)]))")

#: A line that ends this share of the paragraph's width before its right edge gets a hard break.
_SHORT = 0.15


def text_of(pages: Iterable[ExportPage], page_break: PageBreak) -> Iterator[str]:
    """The text of all pages, separated by a form feed (like pdftotext) or an empty line.

    With form feeds, page n always follows n - 1 form feeds. With empty lines, pages without text
    are left out.
    """
    started = False
    for page in pages:
        text = (page.text or "").replace("\f", "\n").strip("\n")
        if page_break == "form-feed":
            yield ("\f" if started else "") + (text + "\n" if text else "")
            started = True
        elif text:
            yield ("\n" if started else "") + text + "\n"
            started = True


def markdown_of(pages: Iterable[ExportPage]) -> Iterator[str]:
    """Paragraphs. Each page begins with a comment, and from the second page on with a rule.

    The text has no headings, lists or tables: markup characters are escaped, so that the text
    looks as it was read. A row of cells, and a line that is much shorter than its paragraph, end in
    a hard break.
    """
    for number, page in enumerate(pages):
        rule = "\n---\n\n" if number else ""
        yield f"{rule}<!-- {_mark(page)} -->\n"
        for paragraph in paragraphs(page):
            yield "\n" + _paragraph(paragraph)


def _mark(page: ExportPage) -> str:
    mark = f"page {page.number}"
    if page.failure and page.text is None:
        return f"{mark}: failed, {page.failure['kind']}"
    if page.why:
        return f"{mark}: {'waits for review' if page.why == 'review' else page.why}"
    return mark


def _paragraph(lines: list[ExportLine]) -> str:
    rows = rows_of(lines)
    rights = [_right(row[-1]) for row in rows]
    left, right = min(_left(line) for line in lines), max(rights)
    short = right - _SHORT * (right - left)
    ends = [
        "\\\n" if len(row) > 1 or end < short else "\n"
        for row, end in zip(rows, rights[:-1], strict=False)
    ]
    texts = [_escaped(" ".join(line.text for line in row)) for row in rows]
    return "".join(map("".join, zip(texts, [*ends, "\n"], strict=True)))


def _left(line: ExportLine) -> float:
    return min(line.polygon[::2]) if line.polygon else 0.0


def _right(line: ExportLine) -> float:
    return max(line.polygon[::2]) if line.polygon else float(len(line.text))


def _escaped(text: str) -> str:
    escaped = _INLINE.sub(r"\\\1", " ".join(text.split()))
    return _AT_START.sub(lambda found: _start(found[1]), escaped)


def _start(mark: str) -> str:
    """Escape the start of a list: after a number (`1\\.`), before a sign (`\\-`)."""
    return mark + "\\" if mark.isdigit() else "\\" + mark


def json_lines_of(pages: Iterable[ExportPage]) -> Iterator[str]:
    """One JSON object per page. `row_id` is a string: JavaScript's numbers hold 53 bits."""
    for page in pages:
        yield escaped_json(json.dumps(_object(page), ensure_ascii=False, allow_nan=False)) + "\n"


def _object(page: ExportPage) -> dict[str, object]:
    row = page.row
    return {
        "row_id": str(row["row_id"]),
        "uri": row["uri"],
        "page": row["page"],
        "pages": row["pages"],
        "width": row["width"],
        "height": row["height"],
        "rotation": row.get("rotation"),
        "outcome": row["outcome"],
        "reasons": row["reasons"] or [],
        "reviewed": page.reviewed,
        "text": page.text,
        "text_source": page.source,
        "lines": [
            {
                "text": line.text,
                "score": None if line.score is None else round(line.score, 4),
                "polygon": line.polygon and [round(value, 2) for value in line.polygon],
                "row": line.row,
                "column": line.column,
            }
            for line in page.lines
        ],
        "failure": page.failure,
    }
