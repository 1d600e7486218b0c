"""Lists the files of a local folder tree as a stream; only one folder is in memory at a time."""

from __future__ import annotations

import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.storage.objects import Entry, local_uri

#: Larger folders are sorted as Arrow arrays, which take a third of the memory. Small folders are
#: sorted as Python lists: Arrow's fixed 0.5 ms would dominate a tree of small folders.
_SMALL_FOLDER = 10_000


class Walk:
    """Yields (path below `root`, entry) of each file, depth first, each folder sorted.

    An unreadable folder or a dangling link yields an entry with an empty etag and 0 bytes, so that
    the run reports it as a failed row. Raises OSError if `root` itself is unreadable.

    Args:
        root: folder to list.
        max_depth: levels of folders; 1: only `root`; None: no limit.
        hidden: whether to include names that start with a dot.
        links: whether to follow symbolic links.
        skipped: receives the number of skipped names by reason.
    """

    def __init__(
        self,
        root: bytes,
        *,
        max_depth: int | None,
        hidden: bool,
        links: bool,
        skipped: Counter[str],
    ) -> None:
        self._root = root.rstrip(b"/") + b"/"
        self._max_depth = max_depth
        self._hidden = hidden
        self._links = links
        self._skipped = skipped
        self._visited: set[tuple[int, int]] = set()

    def __iter__(self) -> Iterator[tuple[bytes, Entry]]:
        self._is_new(Path(os.fsdecode(self._root)).stat())
        stack = [(b"", sorted_names(self._root))]
        while stack:
            folder, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
            elif name.startswith(b".") and not self._hidden:
                self._skipped["hidden"] += 1
            else:
                below = folder + name
                status = self._status(below)
                if status is None or not stat.S_ISDIR(status.st_mode):
                    yield from self._file(below, status)
                elif len(stack) != self._max_depth and self._is_new(status):
                    try:
                        stack.append((below + b"/", sorted_names(self._path(below))))
                    except OSError:
                        yield self._dark(below + b"/")

    def _path(self, below: bytes) -> bytes:
        return self._root + below

    def _status(self, below: bytes) -> os.stat_result | None:
        """The status of the file, or of the link if links are not followed; None on an error."""
        try:
            return Path(os.fsdecode(self._path(below))).stat(follow_symlinks=self._links)
        except OSError:
            return None

    def _file(self, below: bytes, status: os.stat_result | None) -> Iterator[tuple[bytes, Entry]]:
        if status is None:
            yield self._dark(below)
        elif stat.S_ISREG(status.st_mode):
            yield below, Entry(local_uri(self._path(below)), etag_of(status), status.st_size)
        else:
            reason = "link" if stat.S_ISLNK(status.st_mode) else "device or pipe"
            self._skipped[reason] += 1

    def _dark(self, below: bytes) -> tuple[bytes, Entry]:
        return below, Entry(local_uri(self._path(below)), "", 0)

    def _is_new(self, status: os.stat_result) -> bool:
        """False for a folder that was listed already: a link loop, or a second name."""
        key = (status.st_dev, status.st_ino)
        if key in self._visited:
            self._skipped["folder linked twice"] += 1
            return False
        self._visited.add(key)
        return True


def etag_of(status: os.stat_result) -> str:
    """The version of a local file: ``<size>-<mtime_ns>``."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def sorted_names(folder: bytes) -> Iterator[bytes]:
    """The sorted names in `folder`. Raises OSError before the first name."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        first = list(itertools.islice(names, _SMALL_FOLDER))
        if len(first) < _SMALL_FOLDER:
            return iter(sorted(first))
        chunks = [pa.array(first, pa.large_binary())]
        while more := list(itertools.islice(names, _SMALL_FOLDER)):
            chunks.append(pa.array(more, pa.large_binary()))
    every = pa.concat_arrays(chunks)
    every = every.take(pc.array_sort_indices(every))
    return (
        name
        for start in range(0, len(every), _SMALL_FOLDER)
        for name in every.slice(start, _SMALL_FOLDER).to_pylist()
    )
