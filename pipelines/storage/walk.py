"""Walks a local tree as a stream: one folder's names in memory, never the tree."""

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

#: Up to here the names of a folder are sorted as Python objects; beyond, as Arrow binary (a third
#: of the memory). Arrow's fixed 0.5 ms would be most of the time in a tree of small folders.
_SMALL_FOLDER = 10_000


class Walk:
    """Yields (path below `root`, entry) of each file, every folder sorted, depth first.

    What cannot be looked into (a folder without permission, a dangling link) is an entry with no
    etag and no bytes, so that it ends as a failure with a name and not as silence. `skipped`
    counts by reason what is left out. `max_depth`: folders, 1 for `root` alone. Raises OSError for
    `root` itself.
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
        """Of the link itself if links are not followed; None if it cannot be had."""
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
        """False for a folder that was walked already: a link loop, or two names for one folder."""
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
    """The names in `folder`, sorted. Raises OSError at once, not at the first name."""
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
