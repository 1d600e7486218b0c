"""Breaks the contract: returns one row less than it got, if it got more than one."""

from __future__ import annotations

import pyarrow as pa
from doubles.counting_reader import CountingReader


class LosesARow(CountingReader):
    def __call__(self, rows: pa.Table) -> pa.Table:
        out = super().__call__(rows)
        return out.slice(0, max(out.num_rows - 1, 1))
