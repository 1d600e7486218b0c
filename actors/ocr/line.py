"""The Arrow types of recognised text."""

from __future__ import annotations

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
