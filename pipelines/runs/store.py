"""The interface of a run's store, which is a disk or a bucket.

                    on a disk                   in a bucket
lock the run        flock                       swap `lease.json` (pipelines.runs.lease)
commit a shard      rename staging -> shards    swap the lease with the shard's name, copy the shard
replace a shard     rename staging -> shards    the same
drop a shard        delete it                   swap the lease with the shard's name, delete it
after a crash       bring rejects up to date    copy, or delete, the shard that the lease names
committed shards    the listing of shards/      the listing, checked against the lease
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pipelines.storage.local import sync_folder
from pipelines.storage.output_errors import output_errors
from pipelines.storage.paths import BucketPath, RunPath, writing

Record = dict[str, Any]


class RunStore(Protocol):
    """A place for a run. Methods that write raise OutputUnwritable and RunBusy."""

    @property
    def path(self) -> RunPath:
        """Path of the run."""

    @property
    def staging(self) -> RunPath:
        """Folder for uncommitted shards."""

    def create(self) -> None:
        """Create the folders and empty `staging`."""

    def locked(self) -> AbstractContextManager[None]:
        """Lock the run for this process."""

    def commit(self, name: str) -> None:
        """Make a staged shard visible. Its rejects come first, so a shard always has them."""

    def replace(self, name: str) -> None:
        """A staged shard replaces the committed one of the same name, in one step; its rejects too.

        Both must hold rows of the committed shard only.
        """

    def drop(self, name: str) -> None:
        """Remove a committed shard and its rejects: its rows are owed again."""

    def set_aside(self, name: str) -> None:
        """Move a committed shard and its rejects to `damaged`: its rows are owed again."""

    def shard_files(self, part: str | None) -> list[RunPath]:
        """Committed shards of one manifest part, or of all, sorted by name."""

    def sweep(self) -> None:
        """Complete or remove what a process that died has left unfinished."""

    def change_record(self, change: Callable[[Record | None], Record]) -> None:
        """Replace run.json atomically by `change(record)`; None if there is no run.json."""


def digest_of(names: Iterable[str], onto: str = "0") -> str:
    """Xor of the hashes of names, in hex. The order does not matter; a repeated name cancels."""
    total = int(onto, 16)
    for name in names:
        total ^= int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
    return f"{total:x}"


def as_json(record: Record) -> str:
    """The text of run.json."""
    return json.dumps(record, indent=2, sort_keys=False, default=str) + "\n"


def free(folder: RunPath, name: str) -> RunPath:
    """The path `name` in a folder, with the first free number if there is such a file: a-2.x."""
    path, number = folder / name, 2
    while path.exists():
        path = folder / f"{PurePosixPath(name).stem}-{number}{PurePosixPath(name).suffix}"
        number += 1
    return path


def move(file: RunPath, folder: RunPath, name: str) -> None:
    """Move a file of a run into a folder of the run, under `name` or the first free one after it.

    Raises OutputUnwritable.
    """
    target = free(folder, name)
    if isinstance(file, Path) and isinstance(target, Path):
        with output_errors(file):
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
            for changed in (target.parent.parent, target.parent, file.parent):
                sync_folder(changed)
    elif isinstance(file, BucketPath):
        with writing():
            file.store.copy(str(file), str(target))
        file.unlink()


def _pattern(part: str | None) -> str:
    return f"{part}-*.parquet" if part else "*.parquet"


def part_of(name: str) -> str:
    """The manifest part of a shard called PART-DIGEST.parquet."""
    return name.rpartition("-")[0]
