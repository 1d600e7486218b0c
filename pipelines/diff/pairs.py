"""Join the rows of two runs by uri and page, without a whole run in memory.

Shards are in the order of their completion, and a row id changes with its file, so there is no
common order to merge by. Both runs are split by a hash of the uri into the same number of temporary
files (Arrow, the needed columns only), and these are joined pair by pair. Memory holds one file of
each run and an index of one, for runs of any size. The files take the disk space of the needed
columns without compression, about four times that of the shards.
"""

from __future__ import annotations

import tempfile
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.decisions.finished import AnyRow
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows, open_shard

#: Rows of both runs that are joined at once: 25 MB of Arrow at 1.5 KB a row.
_SHARE = 16_384
#: Most open files at once; beyond 4 million rows the files grow instead.
_MOST_SHARES = 256
#: Arrow bytes that are collected before they are split, so that the pieces are not tiny.
_GATHERED = 64 << 20
#: Rows of each run that are Python objects at once.
_ROWS = 128

Row = AnyRow
#: A row of each run; None: only the other run has it.
Pair = tuple[Row | None, Row | None]


def pairs(
    one: RunDir,
    other: RunDir,
    columns: tuple[Sequence[str], Sequence[str]],
    *,
    share_rows: int = _SHARE,
    scratch: Path | None = None,
) -> Iterator[Pair]:
    """Every row of both runs once, with its partner of the same uri and page.

    If a run holds a page twice, in two versions of its file, equal etags are joined first.

    Args:
        one, other: finished or not.
        columns: of each run; uri, page and etag must be among them.
        share_rows: rows of both runs that are joined at once.
        scratch: folder of the temporary files; None: that of the system.
    """
    files = [path for run in (one, other) for path in run.shard_files()]
    rows = sum(open_shard(path).metadata.num_rows for path in files)
    count = min(max(-(-rows // share_rows), 1), _MOST_SHARES)
    with tempfile.TemporaryDirectory(prefix=".nightjar-diff-", dir=scratch) as folder:
        sides = [
            _dealt(run, tuple(dict.fromkeys(names)), count, Path(folder) / side)
            for run, names, side in zip((one, other), columns, ("a", "b"), strict=True)
        ]
        for left, right in zip(*sides, strict=True):
            yield from _joined(_table(left), _table(right))


def _dealt(run: RunDir, columns: Sequence[str], count: int, folder: Path) -> list[Path]:
    """Paths of `count` files; a file without rows does not exist."""
    folder.mkdir()
    paths = [folder / f"{number}.arrow" for number in range(count)]
    with ExitStack() as stack:
        writers: dict[int, Any] = {}
        for rows in _gathered(run, columns):
            uris = rows["uri"].to_pylist()
            share = np.array([zlib.crc32(uri.encode()) % count for uri in uris], np.int64)
            for number in np.unique(share).tolist():
                if number not in writers:
                    file = stack.enter_context(pa.OSFile(str(paths[number]), "wb"))
                    writers[number] = stack.enter_context(pa.ipc.new_stream(file, rows.schema))
                mine = rows.take(pa.array(np.flatnonzero(share == number)))
                writers[number].write_table(mine)
    return paths


def _gathered(run: RunDir, columns: Sequence[str]) -> Iterator[pa.Table]:
    batches, size = [], 0
    for batch in iter_rows(run, columns):
        batches.append(batch)
        size += batch.nbytes
        if size >= _GATHERED:
            yield pa.Table.from_batches(batches)
            batches, size = [], 0
    if batches:
        yield pa.Table.from_batches(batches)


def _table(path: Path) -> pa.Table | None:
    if not path.exists():
        return None
    with pa.OSFile(str(path), "rb") as file:
        return pa.ipc.open_stream(file).read_all().combine_chunks()


def _joined(left: pa.Table | None, right: pa.Table | None) -> Iterator[Pair]:
    if left is None or right is None:
        for one in _rows(left):
            yield one, None
        for one in _rows(right):
            yield None, one
        return
    partners = _partners(left, right)
    for start in range(0, left.num_rows, _ROWS):
        places = partners[start : start + _ROWS]
        known = places[places >= 0]
        theirs = iter(right.take(pa.array(known)).to_pylist())
        mine = left.slice(start, _ROWS).to_pylist()
        for row, place in zip(mine, places.tolist(), strict=True):
            yield row, next(theirs) if place >= 0 else None
    rest = np.setdiff1d(np.arange(right.num_rows), partners)
    for start in range(0, len(rest), _ROWS):
        for one in right.take(pa.array(rest[start : start + _ROWS])).to_pylist():
            yield None, one


def _rows(table: pa.Table | None) -> Iterator[Row]:
    if table is None:
        return
    for start in range(0, table.num_rows, _ROWS):
        yield from table.slice(start, _ROWS).to_pylist()


def _partners(left: pa.Table, right: pa.Table) -> np.ndarray:
    """(left rows,) index of the partner in `right`; -1: none."""
    by_version = defaultdict[tuple[Any, ...], deque[int]](deque)
    by_page = defaultdict[tuple[Any, ...], deque[int]](deque)
    for place, key in enumerate(_keys(right)):
        by_version[key].append(place)
        by_page[key[:2]].append(place)
    found, taken = np.full(left.num_rows, -1), set[int]()
    for index, size in ((by_version, 3), (by_page, 2)):
        for row, key in enumerate(_keys(left)):
            waiting = index.get(key[:size])
            while found[row] < 0 and waiting:
                place = waiting.popleft()
                if place not in taken:
                    taken.add(place)
                    found[row] = place
    return found


def _keys(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    columns = (table[name].to_pylist() for name in ("uri", "page", "etag"))
    return zip(*columns, strict=True)
