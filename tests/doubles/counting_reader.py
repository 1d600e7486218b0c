"""A well-behaved tiny model: `length` of the uri. The doubles that misbehave derive from it."""

from __future__ import annotations

import pyarrow as pa

from actors.contract import Actor, Settings
from actors.failures import FAILURE


class ReaderConfig(Settings):
    poison_row: int = -1
    flag_dir: str = ""


class CountingReader(Actor[ReaderConfig]):
    """Writes the length of each uri."""

    reads = pa.schema([("row_id", pa.int64()), ("uri", pa.string())])
    writes = pa.schema([("length", pa.int32()), ("read_failure", FAILURE)])
    failure_column = "read_failure"

    def __call__(self, rows: pa.Table) -> pa.Table:
        with self.timed("read"):
            for row in rows["row_id"].to_pylist():
                self.meet(row)
            lengths = pa.array([len(u) for u in rows["uri"].to_pylist()], pa.int32())
        rows = rows.append_column("length", lengths)
        return rows.append_column("read_failure", pa.nulls(rows.num_rows, FAILURE))

    def meet(self, row: int) -> None:
        """Hook of the doubles."""
