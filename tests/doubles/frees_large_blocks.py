"""Takes and frees 100 MB in each batch, as a forward does; the batch's page faults are `length`."""

from __future__ import annotations

import ctypes
import resource

import pyarrow as pa
from doubles.counting_reader import CountingReader, ReaderConfig

from actors.heap import keep_freed_memory

BLOCK = 100 * 2**20
PR_SET_THP_DISABLE = 41  # of Linux: a machine that gives huge pages unasked would fetch 50


class FreesLargeBlocks(CountingReader):
    def __init__(self, config: ReaderConfig) -> None:
        super().__init__(config)
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
        keep_freed_memory()

    def __call__(self, rows: pa.Table) -> pa.Table:
        before = _faults()
        b"\1" * BLOCK  # written to, so that the kernel has to fetch it
        faults = pa.array([_faults() - before] * rows.num_rows, pa.int32())
        return super().__call__(rows).set_column(2, "length", faults)


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
