"""Takes and frees 100 MB a batch, like a forward pass; the page faults of a batch are `length`."""

from __future__ import annotations

import ctypes
import resource

import pyarrow as pa
from doubles.counting_reader import CountingReader, ReaderConfig

from actors.heap import keep_freed_memory

BLOCK = 100 * 2**20
_PR_SET_THP_DISABLE = 41  # of Linux's prctl.h


class FreesLargeBlocks(CountingReader):
    def __init__(self, config: ReaderConfig) -> None:
        super().__init__(config)
        small_pages()
        keep_freed_memory()

    def __call__(self, rows: pa.Table) -> pa.Table:
        before = faults()
        b"\1" * BLOCK  # written to, so that the kernel has to fetch it
        met = pa.array([faults() - before] * rows.num_rows, pa.int32())
        return super().__call__(rows).set_column(2, "length", met)


def small_pages() -> None:
    """No huge pages in this process: a machine that gives them unasked fetches 50 for a BLOCK."""
    ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def faults() -> int:
    """Pages that this process has fetched from the kernel until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
