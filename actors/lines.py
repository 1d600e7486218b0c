"""Recognised text lines, as Arrow types and as typed dicts."""

from __future__ import annotations

from typing import NotRequired, TypedDict

import pyarrow as pa

#: One text line.
#:
#: * `score`: mean probability of its characters, 0..1; null if the engine gives none. Null means
#:   unknown, never "sure".
#: * `polygon`: x0,y0 .. x3,y3, clockwise from the top left, in pixels of the upright rendered page
#:   (`width` x `height`).
#: * `row`: number of its row of text, from 0 in reading order; lines side by side share it. Null:
#:   the reader does not tell.
#: * `column`: number of its column, from 0 at the left, in a table or in prose. Null: as for `row`.
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
#: * `rotation`: degrees clockwise, 0, 90, 180 or 270, by which the reader turned the page to read it
#:   upright; null: it does not look. Polygons are in pixels of the upright page.
#: * `script`: ISO 15924 code of most of the page's letters; null: unknown.
#: * `unread_script`, `unread_letters`, `unread_ink`: shares (0..1) of the lines' width; null:
#:   unknown. In scripts that the reader cannot read; of lines in a script that it reads, but with
#:   letters outside its alphabet (Vietnamese); of ink that is too wide for the characters read.
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
    ocr_engine: str | None
