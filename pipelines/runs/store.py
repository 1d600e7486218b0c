"""What a run directory must be able to do, and the two places that can: a disk and a bucket.

                    on a disk                        in a bucket
hold the run        flock                            `lease.json`, swapped (pipelines.runs.lease)
commit a shard      rename staging -> shards         swap the lease, naming the shard; copy it
after a crash       nothing                          the copy that the lease names is made up for
what is committed   what is listed                   the same, checked against the lease
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
    """Where a run is, and how it is held and committed to. Raises OutputUnwritable and RunBusy."""

    @property
    def path(self) -> RunPath:
        """Of the run."""

    @property
    def staging(self) -> RunPath:
        """Where the writers of the holder put shards."""

    def create(self) -> None:
        """Make the folders and empty `staging`."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run for this process."""

    def commit(self, name: str) -> None:
        """Make a staged shard visible: its rejects first, so that they never lack."""

    def shard_files(self, part: str | None) -> list[RunPath]:
        """Committed shards, of one manifest part or all, sorted."""

    def sweep(self) -> None:
        """Remove what a holder that died has left half done."""

    def change_record(self, change: Callable[[Record | None], Record]) -> None:
        """Replace run.json by what `change` makes of it, whole or not at all."""


def digest_of(names: Iterable[str], onto: str = "0") -> str:
    """Xor of the hashes of names, as hex: in any order the same, and each name takes itself out."""
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
