"""The types of a page's layout, in Arrow and in Python."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

from actors.failures import FAILURE, FailureValue

#: One block of a page, for readers that find blocks before text.
#:
#: * `type`: what the model calls it, lower case: text, section_header, table, form, figure ...
#: * `box`: x0, y0, x1, y1 in pixels of the upright page, inside it; null where the model named
#:   none that lies on the page.
#: * `html`: the block's text as HTML, a table as ``<table>``; null where it was not read. It is a
#:   model's answer about somebody's page: escape or clean it before a browser sees it.
#: * `score`: mean probability of the answer's tokens, 0..1; null means unknown, never "sure".
#: * `failure`: why `html` is null or not to be trusted.
BLOCK = pa.struct(
    [
        ("type", pa.string()),
        ("box", pa.list_(pa.float32(), 4)),
        ("html", pa.string()),
        ("score", pa.float32()),
        ("failure", FAILURE),
    ]
)

#: The column `ocr_blocks`, in reading order. Null: not looked at.
BLOCKS = pa.list_(BLOCK)


class BlockValue(TypedDict):
    """A value of BLOCK."""

    type: str
    box: list[float] | None
    html: str | None
    score: float | None
    failure: FailureValue | None
