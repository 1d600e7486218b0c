"""Recognised text lines, as Arrow types and as typed dicts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NotRequired, TypedDict

import pyarrow as pa

#: Characters of scripts that put no blanks between words: punctuation, kana, Han, full width.
_IDEOGRAPHIC = re.compile("[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff9f]")

#: Height / width of a line from which it is vertical.
VERTICAL = 1.5

#: One text line.
#:
#: * `score`: mean probability of its characters, 0..1; null if the engine gives none. Null means
#:   unknown, never "sure".
#: * `polygon`: x0,y0 .. x3,y3, clockwise from the top left, in pixels of the upright rendered page
#:   (`width` x `height`).
#: * `row`: number of its row of text, from 0 in reading order. Cells of a row share it; lines of
#:   columns of prose, which are read one column after the other, do not. Null: the reader does not
#:   tell.
#: * `column`: number of its column, from 0 at the left, in a table or in prose. Lines with the same
#:   row and column are parts of one line of text. Null: as for `row`.
#: * `script`: ISO 15924 code of its letters, such as Latn or Cyrl; null: unknown, or no letters.
LINE = pa.struct(
    [
        ("text", pa.string()),
        ("score", pa.float32()),
        ("polygon", pa.list_(pa.float32(), 8)),
        ("row", pa.int32()),
        ("column", pa.int32()),
        ("script", pa.string()),
    ]
)

LINES = pa.list_(LINE)


class LineValue(TypedDict):
    """A value of LINE. `text` is "" if a line was found but not read. A missing key is a null."""

    text: str
    score: float | None
    polygon: list[float]
    row: NotRequired[int | None]
    column: NotRequired[int | None]
    script: NotRequired[str | None]


#: The columns that every reader writes before `ocr_failure`.
#:
#: * `ink_share`: share (0..1) of the page's cells with ink.
#: * `ink_covered`: share of those cells inside a line; null without ink.
#: * `text_outside`: share (0..1) of the detector's text probability outside the lines; null if
#:   unknown.
#: * `rotation`: degrees clockwise, 0, 90, 180 or 270, by which the reader turned the page to read
#:   it upright; null: it does not look. Polygons are in pixels of the upright page.
#: * `script`: ISO 15924 code of most of the page's letters; null: unknown.
#: * `unread_script`, `unread_letters`, `unread_ink`: shares (0..1) of the lines' width; null:
#:   unknown. In scripts that the reader cannot read; of lines in a script that it reads, but with
#:   letters outside its alphabet (Vietnamese); of ink that is too wide for the characters read.
#: * `order_doubt`: share (0..1) of the lines whose next line changes when their boxes change by a
#:   few pixels; null with fewer than two lines, or if the reader does not tell.
READING = (
    ("ocr_lines", LINES),
    ("ink_share", pa.float32()),
    ("ink_covered", pa.float32()),
    ("text_outside", pa.float32()),
    ("rotation", pa.int16()),
    ("script", pa.string()),
    ("unread_script", pa.float32()),
    ("unread_letters", pa.float32()),
    ("unread_ink", pa.float32()),
    ("order_doubt", pa.float32()),
    ("ocr_engine", pa.string()),
)


class ReadingValue(TypedDict, total=False):
    """The columns of READING of one page; a missing key is a null."""

    ocr_lines: list[LineValue] | None
    ink_share: float | None
    ink_covered: float | None
    text_outside: float | None
    rotation: int | None
    script: str | None
    unread_script: float | None
    unread_letters: float | None
    unread_ink: float | None
    order_doubt: float | None
    ocr_engine: str | None


def text_rows(lines: Iterable[LineValue]) -> Iterator[list[list[LineValue]]]:
    """The rows of a page: the cells of each row, and the lines of each cell.

    Lines without text are left out. A line without a row is a row of its own.
    """
    row: list[list[LineValue]] = []
    for line in lines:
        if not line["text"]:
            continue
        last = row[-1][-1] if row else None
        if last is not None and not _shared(line, last, "row"):
            yield row
            row, last = [], None
        if last is not None and _shared(line, last, "column"):
            row[-1].append(line)
        else:
            row.append([line])
    if row:
        yield row


def _shared(one: LineValue, other: LineValue, name: Literal["row", "column"]) -> bool:
    return one.get(name) is not None and one.get(name) == other.get(name)


def is_ideographic(letter: str) -> bool:
    """Whether a character is of a script without blanks between words: Han, kana."""
    return _IDEOGRAPHIC.match(letter) is not None


def cell_text(cell: Iterable[LineValue]) -> str:
    """The text of one cell: its lines, parted by blanks, but not between Han or kana characters."""
    text = ""
    for line in cell:
        tight = text and is_ideographic(text[-1]) and is_ideographic(line["text"][0])
        text += line["text"] if tight or not text else f" {line['text']}"
    return text


def page_text(lines: Iterable[LineValue]) -> str:
    """The text of a page: rows parted by newlines, the cells of a row by tabs."""
    return "\n".join("\t".join(map(cell_text, row)) for row in text_rows(lines))
