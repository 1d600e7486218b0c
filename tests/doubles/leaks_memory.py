"""Keeps 24 MiB of every batch, like an engine with unbounded caches."""

from __future__ import annotations

import pyarrow as pa
from doubles.counting_reader import CountingReader, ReaderConfig

_KEPT = 24 * 2**20


class LeaksMemory(CountingReader):
    def __init__(self, config: ReaderConfig) -> None:
        super().__init__(config)
        self.hoard: list[bytes] = []

    def __call__(self, rows: pa.Table) -> pa.Table:
        self.hoard.append(b"\1" * _KEPT)  # written to, so that it is resident
        return super().__call__(rows)
