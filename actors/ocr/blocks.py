"""Layout blocks of a page, as Arrow types and as typed dicts."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

from actors.failures import FAILURE, FailureValue

#: One block of a page, for readers that detect the layout before they read text.
#:
#: * `type`: the model's name of the block type, lower case: text, section_header, table, form,
#:   figure ...
#: * `box`: x0, y0, x1, y1 in pixels of the upright page, inside it; null if the model gave no box
#:   on the page.
#: * `html`: the block's text as HTML, a table as ``<table>``; null if it was not read. A model
#:   wrote this HTML: escape or sanitise it before a browser shows it.
#: * `score`: mean probability of the answer's tokens, 0..1; null means unknown, never "sure".
#: * `failure`: the reason why `html` is null or unreliable.
BLOCK = pa.struct(
    [
        ("type", pa.string()),
        ("box", pa.list_(pa.float32(), 4)),
        ("html", pa.string()),
        ("score", pa.float32()),
        ("failure", FAILURE),
    ]
)

#: The column `ocr_blocks`, in reading order. Null: not processed.
BLOCKS = pa.list_(BLOCK)


class BlockValue(TypedDict):
    """A value of BLOCK."""

    type: str
    box: list[float] | None
    html: str | None
    score: float | None
    failure: FailureValue | None
