"""A run directory in a bucket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import OutputUnwritable, RunConflict
from pipelines.runs.lease import LEASE_S, Commit, Lease
from pipelines.runs.store import Record, _pattern, as_json, digest_of, free, part_of
from pipelines.storage.damage import record_of
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
        self._rejects = path / "rejects"
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
        head = self._held().head
        digest = digest_of([name], head.digest)
        self._commit(name, replaces=False, shards=head.shards + 1, digest=digest, dropped=None)
        self._committed.setdefault(part_of(name), []).append(self._shards / name)

    def replace(self, name: str) -> None:
        """As `commit`: the lease names the shard, and the copy overwrites it in one step."""
        self._commit(name, replaces=True)
        self._forget(name)
        self._committed.setdefault(part_of(name), []).append(self._shards / name)

    def drop(self, name: str) -> None:
        """Swap the lease, then delete. If this process dies between, the next one deletes."""
        lease = self._held()
        head = lease.head
        last = None if head.last and head.last.name == name else head.last
        digest = digest_of([name], head.digest)
        lease.swap(shards=head.shards - 1, digest=digest, last=last, dropped=name)
        self._delete(name)
        self._forget(name)

    def set_aside(self, name: str) -> None:
        """Copy the shard and its rejects before they are dropped."""
        for file, kept in ((self._rejects / name, f"rejects-{name}"), (self._shards / name, name)):
            if file.is_file():
                target = free(self.path / "damaged", kept)
                with writing():
                    self.path.store.copy(str(file), str(target))
        self.drop(name)

    def _held(self) -> Lease:
        """The lease; a commit whose copy failed is completed first."""
        if self._lease is None:
            raise RuntimeError("commits need the lease: call them inside locked()")
        if self._unplaced is not None:
            self._place(self._unplaced)
            self._unplaced = None
        return self._lease

    def _commit(self, name: str, *, replaces: bool, **changes: object) -> None:
        lease = self._held()
        rejects = (self.staging / f"rejects-{name}").is_file()
        staged = f"{self.staging.parent.name}/{self.staging.name}"
        commit = Commit(name=name, staged=staged, rejects=rejects, replaces=replaces)
        lease.swap(last=commit, **changes)
        self._unplaced = commit
        self._place(commit)
        self._unplaced = None
        with suppress(OutputUnwritable):  # the next start empties it
            for done in (name, f"rejects-{name}") if rejects else (name,):
                (self.staging / done).unlink()

    def _forget(self, name: str) -> None:
        part = self._committed.get(part_of(name), [])
        part[:] = [path for path in part if path.name != name]

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
                there, etag = self._record(uri)
                after = as_json(change(record_of(uri, there) if etag else None)).encode()
                try:
                    store.put(uri, after, replaces=etag, new=etag is None)
                    return
                except Conflict:
                    # An earlier try may have succeeded, and only its answer was lost.
                    if self._record(uri)[0] == after:
                        return

    def _record(self, uri: str) -> tuple[bytes, str | None]:
        """Content and etag of run.json; no etag if there is none."""
        try:
            stored = self.path.store.stored(uri)
        except ItemFailure as fault:
            if fault.kind is FailureKind.OBJECT_MISSING:
                return b"", None
            raise
        return stored.data, stored.etag

    def _place(self, commit: Commit) -> None:
        """Copy a committed shard from staging to `shards` and `rejects`. Idempotent."""
        staged, store = self.path / commit.staged, self.path.store
        with writing():
            if commit.rejects:
                store.copy(f"{staged}/rejects-{commit.name}", f"{self._rejects}/{commit.name}")
            store.copy(f"{staged}/{commit.name}", f"{self._shards}/{commit.name}")
            if commit.replaces and not commit.rejects:
                store.delete(f"{self._rejects}/{commit.name}")

    def _delete(self, name: str) -> None:
        with writing():
            for folder in (self._shards, self._rejects):
                self.path.store.delete(f"{folder}/{name}")

    def _make_up(self, lease: Lease) -> None:
        """Complete the last change if its driver did not. Earlier ones are always complete."""
        if lease.head.dropped:
            self._delete(lease.head.dropped)
        last = lease.head.last
        if last and last.replaces:
            if (self.path / last.staged / last.name).is_file():
                self._place(last)
            return
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
                    self._committed.setdefault(part_of(path.name), []).append(path)
                return
            time.sleep(wait_s)
        foreign = [path for path in found if digest_of([path.name], digest) == lease.head.digest]
        if foreign and len(found) == lease.head.shards + 1:
            raise RunConflict(
                f"{foreign[0]} was not committed by Nightjar",
                "move it away, then start again",
            )
        raise RunConflict(
            f"{self._shards} lists {len(found)} shards, which are not the {lease.head.shards} "
            "committed shards",
            "start again when the store's listing is up to date. If you added or removed shards "
            f"by hand, delete {self.path / 'lease.json'}: the listed shards then count",
        )
