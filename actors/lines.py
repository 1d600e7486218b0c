"""The types of recognised text, in Arrow and in Python."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

#: One text line. `score`: mean probability of its characters, 0..1, null where the engine gives
#: none (null means unknown, never "sure"). `polygon`: x0,y0 .. x3,y3, clockwise from the top left,
#: in pixels of the upright rendered page (`width` x `height`).
LINE = pa.struct(
    [
        ("text", pa.string()),
        ("score", pa.float32()),
        ("polygon", pa.list_(pa.float32(), 8)),
    ]
)

LINES = pa.list_(LINE)


class LineValue(TypedDict):
    """A value of LINE. `text` is "" where a line was found but not read."""

    text: str
    score: float | None
    polygon: list[float]


#: What every reader writes before `ocr_failure`. `ink_share`: share (0..1) of the page's cells that
#: hold ink; `ink_covered`: share of those inside a line, null without ink.
#: `text_outside`: share (0..1) of what the detector takes for text that lies outside the lines,
#: null where nobody can tell.
READING = (
    ("ocr_lines", LINES),
    ("ink_share", pa.float32()),
    ("ink_covered", pa.float32()),
    ("text_outside", pa.float32()),
    ("ocr_engine", pa.string()),
)


class ReadingValue(TypedDict, total=False):
    """The columns of READING of one page; a missing key is a null."""

    ocr_lines: list[LineValue] | None
    ink_share: float | None
    ink_covered: float | None
    text_outside: float | None
    ocr_engine: str | None
