"""A run directory in a bucket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import OutputUnwritable, RunConflict
from pipelines.runs.lease import LEASE_S, Commit, Lease
from pipelines.runs.store import Record, _part_of, _pattern, as_json, digest_of
from pipelines.storage.objects import Conflict
from pipelines.storage.paths import BucketPath, RunPath, listed, writing

#: Seconds to wait between attempts while a listing lacks committed shards.
_STALE_S = (0.5, 1.0, 2.0, 4.0, 8.0)


class BucketStore:
    """A run below a prefix of a bucket. The store must support conditional writes."""

    def __init__(self, path: BucketPath, lease_s: float = LEASE_S) -> None:
        self.path = path
        self.staging = path / "staging"
        self._shards = path / "shards"
        self._lease_s = lease_s
        self._lease: Lease | None = None
        self._committed: dict[str, list[BucketPath]] = {}  # by manifest part, while the run is held
        self._unplaced: Commit | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For writers in other processes: they can stage a shard, but not commit it."""
        return self.__dict__ | {"_lease": None, "_committed": {}, "_unplaced": None}

    def create(self) -> None:
        """Empty `staging`. Writers that outlive their driver can leave files there."""
        for file in (self.path / "staging").walk_files():
            file.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        with writing():
            self.path.store.reach(str(self.path))
        with Lease(self.path / "lease.json", self._lease_s) as lease:
            self._lease = lease
            self.staging = self.path / "staging" / lease.session
            try:
                self._make_up(lease)
                self._verify(lease)
                yield
            finally:
                self._lease = None
                self._committed = {}

    def commit(self, name: str) -> None:
        """Swap the lease, then copy the shard. If this process dies between, the next one copies.

        Raises RunBusy if another process has taken over the run; nothing is committed then.
        """
        if self._lease is None:
            raise RuntimeError("commit needs the lease: call it inside locked()")
        if self._unplaced is not None:
            self._place(self._unplaced)
        head = self._lease.head
        rejects = (self.staging / f"rejects-{name}").is_file()
        staged = f"{self.staging.parent.name}/{self.staging.name}"
        commit = Commit(name=name, staged=staged, rejects=rejects)
        digest = digest_of([name], head.digest)
        self._lease.swap(shards=head.shards + 1, digest=digest, last=commit)
        self._unplaced = commit
        self._place(commit)
        self._unplaced = None
        self._committed.setdefault(_part_of(name), []).append(self._shards / name)
        with suppress(OutputUnwritable):  # the next start empties it
            for done in (name, f"rejects-{name}") if rejects else (name,):
                (self.staging / done).unlink()

    def shard_files(self, part: str | None) -> list[RunPath]:
        """Committed shards. While this process holds the run, no further listing is needed."""
        if self._lease is None:
            return listed(self._shards, _pattern(part))
        parts = self._committed.values() if part is None else [self._committed.get(part, [])]
        return [*sorted(path for paths in parts for path in paths)]

    def sweep(self) -> None:
        """Does nothing: rejects are copied only after their shard is committed."""

    def change_record(self, change: Callable[[Record | None], Record]) -> None:
        """Replace run.json by a conditional write, so that concurrent changes are not lost."""
        uri, store = str(self.path / "run.json"), self.path.store
        with writing():
            while True:
                before, etag = self._record(uri)
                with suppress(Conflict):
                    store.put(uri, as_json(change(before)).encode(), replaces=etag, new=etag is None)
                    return

    def _record(self, uri: str) -> tuple[Record | None, str | None]:
        try:
            stored = self.path.store.stored(uri)
        except ItemFailure as fault:
            if fault.kind is FailureKind.OBJECT_MISSING:
                return None, None
            raise
        return json.loads(stored.data), stored.etag

    def _place(self, commit: Commit) -> None:
        """Copy a committed shard from staging to `shards` and `rejects`. Idempotent."""
        staged, store = self.path / commit.staged, self.path.store
        with writing():
            if commit.rejects:
                store.copy(f"{staged}/rejects-{commit.name}", f"{self.path}/rejects/{commit.name}")
            store.copy(f"{staged}/{commit.name}", f"{self._shards}/{commit.name}")

    def _make_up(self, lease: Lease) -> None:
        """Copy the last committed shard if its driver did not. Earlier ones are always copied."""
        last = lease.head.last
        for wait_s in (*_STALE_S, 0.0):
            if last is None or (self._shards / last.name).is_file():
                return
            if (self.path / last.staged / last.name).is_file():
                self._place(last)
                return
            time.sleep(wait_s)
        if last is not None:  # the staged file is gone: the rows must be processed again
            count, digest = lease.head.shards - 1, digest_of([last.name], lease.head.digest)
            lease.swap(shards=count, digest=digest, last=None)

    def _verify(self, lease: Lease) -> None:
        """Check the listing against the lease. Rows of an unlisted shard would be written twice.

        Raises RunConflict.
        """
        for wait_s in (*_STALE_S, 0.0):
            found = [*self._shards.glob("*.parquet")]
            digest = digest_of(path.name for path in found)
            if lease.is_new:  # also a run that was copied here, or whose lease was deleted
                lease.swap(shards=len(found), digest=digest)
            if (len(found), digest) == (lease.head.shards, lease.head.digest):
                for path in found:
                    self._committed.setdefault(_part_of(path.name), []).append(path)
                return
            time.sleep(wait_s)
        raise RunConflict(
            f"{self._shards} lists {len(found)} shards, which are not the {lease.head.shards} "
            "committed shards",
            "start again when the store's listing is up to date. If you added or removed shards "
            f"by hand, delete {self.path / 'lease.json'}: the listed shards then count",
        )
