"""Write lines in the order of their rank.

Lines go to a temporary file as they come, and are put in order at the end. Memory holds 17 bytes
for each line.
"""

from __future__ import annotations

import heapq
import json
from array import array
from pathlib import Path
from typing import IO, Any

import numpy as np

#: Number of records of each group that stay in memory.
WORST = 10


class RankedLines:
    """Lines on disk, with their groups and ranks."""

    def __init__(self, file: IO[bytes] | None) -> None:
        """`file`: open for reading and writing; None: keep only the first of each group."""
        self._file = file
        self._groups, self._ranks, self._starts = array("b"), array("d"), array("q")
        self._end = 0
        self._count = 0
        self._first: dict[int, list[tuple[float, int, dict[str, Any]]]] = {}

    def add(self, group: int, rank: float, record: dict[str, Any]) -> None:
        """Take one record. Lower groups come first, higher ranks come first in their group."""
        self._count += 1
        best = self._first.setdefault(group, [])
        heapq.heappush(best, (rank, -self._count, record))
        if len(best) > WORST:
            heapq.heappop(best)
        if self._file is None:
            return
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        self._file.write(line)
        self._groups.append(group)
        self._ranks.append(rank)
        self._starts.append(self._end)
        self._end += len(line)

    def first(self, group: int) -> list[dict[str, Any]]:
        """The first records of a group."""
        return [record for *_, record in sorted(self._first.get(group, []), reverse=True)]

    def write(self, path: Path) -> None:
        """Write all lines in order; the file appears only when it is complete."""
        if self._file is None:
            return
        starts = np.array(self._starts, np.int64)
        order = np.lexsort((starts, -np.array(self._ranks), np.array(self._groups)))
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("wb") as out:
            for place in order.tolist():
                self._file.seek(self._starts[place])
                out.write(self._file.readline())
        temporary.replace(path)
