"""What a run directory must be able to do, and the two places that can: a disk and a bucket.

                    on a disk                        in a bucket
hold the run        flock                            `lease.json`, swapped (pipelines.lease)
commit a shard      rename staging -> shards         swap the lease, naming the shard; copy it
after a crash       nothing                          the copy that the lease names is made up for
what is committed   what is listed                   the same, checked against the lease
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import OutputUnwritable, RunBusy, RunConflict
from pipelines.lease import LEASE_S, Commit, Lease
from pipelines.output_errors import output_errors
from pipelines.s3 import Conflict
from pipelines.s3_path import RunPath, S3Path, listed, run_path, writing

#: How long to wait for a listing that lacks what was committed, in seconds between looks.
_STALE_S = (0.5, 1.0, 2.0, 4.0, 8.0)

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


class LocalStore:
    """A run on a disk that is local or mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.staging = path / "staging"

    def create(self) -> None:
        with output_errors(self.path):
            shutil.rmtree(self.staging, ignore_errors=True)
            for name in ("manifest", "shards", "rejects", "staging"):
                (self.path / name).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The kernel lets go of it however the process ends."""
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / ".lock").open("a+")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                raise RunBusy(
                    f"{self.path} is being written by {handle.read().strip() or 'another process'}",
                    "wait for it, stop it, or start beside it with --new",
                ) from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            handle.flush()
            yield

    def commit(self, name: str) -> None:
        with output_errors(self.path):
            if (self.staging / f"rejects-{name}").exists():
                (self.staging / f"rejects-{name}").replace(self.path / "rejects" / name)
            (self.staging / name).replace(self.path / "shards" / name)

    def shard_files(self, part: str | None) -> list[RunPath]:
        return listed(self.path / "shards", _pattern(part))

    def sweep(self) -> None:
        """Rejects whose shard was never committed: the driver died between two renames."""
        for reject in (self.path / "rejects").glob("*.parquet"):
            if not (self.path / "shards" / reject.name).exists():
                reject.unlink()

    def change_record(self, change: Callable[[Record | None], Record]) -> None:
        record = self.path / "run.json"
        before = json.loads(record.read_text()) if record.exists() else None
        temporary = record.with_suffix(".json.tmp")
        with output_errors(self.path):
            temporary.write_text(as_json(change(before)))
            temporary.replace(record)


class BucketStore:
    """A run below a prefix of a bucket whose store has conditional writes."""

    def __init__(self, path: S3Path, lease_s: float = LEASE_S) -> None:
        self.path = path
        self.staging = path / "staging"
        self._shards = path / "shards"
        self._lease_s = lease_s
        self._lease: Lease | None = None
        self._committed: dict[str, list[S3Path]] = {}  # by manifest part, while the run is held
        self._unplaced: Commit | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For writers in other processes, who know where to put a shard and can commit nothing."""
        return self.__dict__ | {"_lease": None, "_committed": {}, "_unplaced": None}

    def create(self) -> None:
        """Writers that outlive their driver may still put into `staging`: the next start sweeps."""
        for file in (self.path / "staging").walk_files():
            file.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        with writing():
            self.path.s3.reach(str(self.path))
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
        """Swap the lease, then copy: whoever comes next copies again if this process dies between.

        Raises RunBusy if another process has taken the run over: nothing is committed then.
        """
        if self._lease is None:
            raise RuntimeError("commits are for the holder of the run")
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
        """While the run is held: what was verified and committed since, without another listing."""
        if self._lease is None:
            return listed(self._shards, _pattern(part))
        parts = self._committed.values() if part is None else [self._committed.get(part, [])]
        return [*sorted(path for paths in parts for path in paths)]

    def sweep(self) -> None:
        """Nothing: rejects are copied only after their shard is committed, and made up for."""

    def change_record(self, change: Callable[[Record | None], Record]) -> None:
        """Swapped as well: a driver that lost the run adds its session, and loses none."""
        uri, s3 = str(self.path / "run.json"), self.path.s3
        with writing():
            while True:
                before, etag = self._record(uri)
                with suppress(Conflict):
                    s3.put(uri, as_json(change(before)).encode(), replaces=etag, new=etag is None)
                    return

    def _record(self, uri: str) -> tuple[Record | None, str | None]:
        try:
            stored = self.path.s3.stored(uri)
        except ItemFailure as fault:
            if fault.kind is FailureKind.OBJECT_MISSING:
                return None, None
            raise
        return json.loads(stored.data), stored.etag

    def _place(self, commit: Commit) -> None:
        """Copy a committed shard to where readers look; again is the same."""
        staged, s3 = self.path / commit.staged, self.path.s3
        with writing():
            if commit.rejects:
                s3.copy(f"{staged}/rejects-{commit.name}", f"{self.path}/rejects/{commit.name}")
            s3.copy(f"{staged}/{commit.name}", f"{self._shards}/{commit.name}")

    def _make_up(self, lease: Lease) -> None:
        """Place the last commit, if its driver did not. All before it were placed before it."""
        last = lease.head.last
        for wait_s in (*_STALE_S, 0.0):
            if last is None or (self._shards / last.name).is_file():
                return
            if (self.path / last.staged / last.name).is_file():
                self._place(last)
                return
            time.sleep(wait_s)
        if last is not None:  # nobody has it any more: its rows are owed again
            count, digest = lease.head.shards - 1, digest_of([last.name], lease.head.digest)
            lease.swap(shards=count, digest=digest, last=None)

    def _verify(self, lease: Lease) -> None:
        """Hold the listing against the lease: what it lacks would be done, and written, again."""
        for wait_s in (*_STALE_S, 0.0):
            found = [*self._shards.glob("*.parquet")]
            digest = digest_of(path.name for path in found)
            if lease.is_new:  # also of a run that was copied here, or whose lease was deleted
                lease.swap(shards=len(found), digest=digest)
            if (len(found), digest) == (lease.head.shards, lease.head.digest):
                for path in found:
                    self._committed.setdefault(_part_of(path.name), []).append(path)
                return
            time.sleep(wait_s)
        raise RunConflict(
            f"{self._shards} lists {len(found)} shards, which are not the {lease.head.shards} that "
            "were committed",
            "start again when the store's listing is up to date; if shards were added or taken "
            f"away by hand, delete {self.path / 'lease.json'}: then what is listed counts",
        )


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


def store_of(path: RunPath) -> RunStore:
    """The store for a run at `path`."""
    return BucketStore(path) if isinstance(path, S3Path) else LocalStore(path)


def beside(path: RunPath) -> RunPath:
    """The first free one of NAME-2, NAME-3, ...; `path` itself if it is unused."""
    if not path.exists():
        return path
    number = 2
    while (candidate := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return run_path(candidate)
