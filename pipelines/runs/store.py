"""The interface of a run's store, which is a disk or a bucket.

                    on a disk                   in a bucket
lock the run        flock                       swap `lease.json` (pipelines.runs.lease)
commit a shard      rename staging -> shards    swap the lease with the shard's name, copy the shard
after a crash       nothing to do               copy the shard that the lease names
committed shards    the listing of shards/      the listing, checked against the lease
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pipelines.storage.paths import RunPath

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

    def shard_files(self, part: str | None) -> list[RunPath]:
        """Committed shards of one manifest part, or of all, sorted by name."""

    def sweep(self) -> None:
        """Remove incomplete commits of a process that died."""

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


def _pattern(part: str | None) -> str:
    return f"{part}-*.parquet" if part else "*.parquet"


def _part_of(name: str) -> str:
    """The manifest part of a shard called PART-DIGEST.parquet."""
    return name.rpartition("-")[0]
