"""`lease.json`: which process may commit to a run in a bucket, and the last commit.

A bucket has no locks and no renames, but it has conditional writes: a PUT that succeeds only if the
object is still the version that the writer has read (If-Match), or does not exist (If-None-Match).
So `lease.json` works as a compare-and-swap register. Taking over the run, each heartbeat and each
commit swap it. A driver that was suspended for an hour has an old etag, so the store refuses its
writes. This does not depend on clocks. Clocks only decide when a silent holder counts as dead.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import NightjarError, OutputUnwritable, RunBusy, RunConflict
from pipelines.storage.objects import Conflict, Stored
from pipelines.storage.paths import BucketPath, writing

#: Seconds without a heartbeat until a holder counts as dead; it sends three in that time.
LEASE_S = 30.0
_TICK_S = 0.25
_CLOCK_S = 1.0  #: stores report times in whole seconds


class Commit(BaseModel):
    """A committed shard; it may not be copied to `shards` yet."""

    model_config = ConfigDict(frozen=True)

    name: str
    staged: str  #: its staging folder, relative to the run
    rejects: bool
    replaces: bool = False  #: a committed shard of the same name


class Head(BaseModel):
    """The content of `lease.json`. `digest`: xor of the hashes of all shard names, in hex."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    number: int  #: counts the swaps
    session: str
    holder: str  #: the process, for messages
    process: str  #: the process, to check whether it is alive; see `_process`
    released: bool = False
    shards: int = 0
    digest: str = "0"
    last: Commit | None = None
    dropped: str | None = None  #: a shard that no longer counts; it may not be deleted yet


class Lease:
    """A context manager that holds the run; a thread sends the heartbeats.

    Entering raises RunBusy, RunConflict, OutputUnwritable (no conditional writes, no answer).
    """

    def __init__(self, path: BucketPath, seconds: float = LEASE_S) -> None:
        """`path`: path of lease.json. `seconds`: see LEASE_S."""
        self.session = uuid.uuid4().hex[:12]
        self.is_new = False  #: there was no lease before this one
        self._path = path
        self._seconds = seconds
        self._head: Head | None = None
        self._etag = ""
        self._lost: NightjarError | None = None
        self._mutex = threading.Lock()
        self._done = threading.Event()
        self._signs = threading.Thread(target=self._show_life, daemon=True)

    def __enter__(self) -> Self:
        with writing():
            self._acquire()
            self._check_conditions()
        self._signs.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        with suppress(NightjarError, ItemFailure), self._mutex:
            if self._lost is None:  # a lost lease must not be released
                self._swap(self.head.model_copy(update={"released": True}))

    @property
    def head(self) -> Head:
        """The content after the last swap."""
        if self._head is None:
            raise RuntimeError("the lease is not held")
        return self._head

    def swap(self, **changes: object) -> None:
        """Change the head. Raises RunBusy if another process has taken over, OutputUnwritable.

        After an error every further swap raises it again: the state of the store is unknown.
        """
        with self._mutex:
            if self._lost is not None:
                raise self._lost
            try:
                with writing():
                    self._swap(self.head.model_copy(update=changes))
            except NightjarError as error:
                self._lost = error
                raise

    def _acquire(self) -> None:
        while self._head is None:
            found = self._read()
            number = 0
            if found is not None:
                self._wait_until_free(*found)
                number = found[0].number
            mine = Head(
                number=number + 1,
                session=self.session,
                holder=f"process {os.getpid()} on {socket.gethostname()}",
                process=_process(os.getpid()),
            )
            if found is not None:
                kept = {name: getattr(found[0], name) for name in _OF_THE_RUN}
                mine = mine.model_copy(update=kept)
            with suppress(Conflict):  # another process was faster: read the lease again
                self._put(mine, found[1].etag if found else None)
                self.is_new = found is None

    def _wait_until_free(self, head: Head, stored: Stored) -> None:
        """Wait until the holder counts as dead. Raises RunBusy at its next heartbeat."""
        silence_ends = time.monotonic() + self._seconds + _CLOCK_S - stored.age_s
        while not head.released and _alive(head.process) is not False:
            again = self._read()
            if again is None or again[1].etag != stored.etag:
                raise _busy(self._path, head)
            if time.monotonic() >= silence_ends:
                return
            time.sleep(min(_TICK_S * 4, self._seconds / 4))

    def _read(self) -> tuple[Head, Stored] | None:
        try:
            stored = self._path.store.stored(str(self._path))
            return Head.model_validate_json(stored.data), stored
        except ValidationError as error:
            raise RunConflict(
                f"{self._path} is not a lease that this version can read: "
                f"{error.error_count()} faults",
                "start a new run directory with --new",
            ) from None
        except ItemFailure as fault:
            if fault.kind is FailureKind.OBJECT_MISSING:
                return None
            raise

    def _swap(self, head: Head) -> None:
        head = head.model_copy(update={"number": self.head.number + 1})
        try:
            self._put(head, self._etag)
            return
        except Conflict:
            found = self._read()
        if found is None or found[0].session != self.session:
            raise self._taken(found)
        # An earlier attempt of this process succeeded, but its answer was lost.
        self._etag = found[1].etag
        if found[0] == head:
            self._head = head
            return
        try:
            self._put(head, self._etag)
        except Conflict as conflict:
            raise self._taken(self._read()) from conflict

    def _put(self, head: Head, replaces: str | None) -> None:
        body = head.model_dump_json().encode()
        uri, store = str(self._path), self._path.store
        self._etag = store.put(uri, body, replaces=replaces, new=replaces is None)
        self._head = head

    def _taken(self, found: tuple[Head, Stored] | None) -> RunBusy:
        if found:
            what = f"{found[0].holder} has taken over {self._path.parent}"
        else:
            what = f"{self._path} was deleted"
        self._lost = RunBusy(
            f"{what} while this process sent no heartbeat",
            "this process has committed nothing since; earlier commits are kept",
        )
        return self._lost

    def _check_conditions(self) -> None:
        """Raise OutputUnwritable if the store ignores conditions of a write.

        Two drivers could commit the same rows there. The test writes the current content, so it
        changes nothing even if the store accepts it.
        """
        body = self.head.model_dump_json().encode()
        uri, store = str(self._path), self._path.store
        for name, replaces in (("If-None-Match", None), ("If-Match", store.never)):
            try:
                store.put(uri, body, replaces=replaces, new=replaces is None)
            except Conflict:
                continue
            raise OutputUnwritable(
                f"the store of {self._path.parent} ignores {name}, so two drivers could commit the "
                "same rows",
                "use a store with conditional writes (AWS, Google, Azure, MinIO, R2, Ceph), or a "
                "run_dir on disk",
            )

    def _show_life(self) -> None:
        while not self._done.wait(self._seconds / 3):
            with self._mutex:
                if self._lost is not None:
                    return
                with suppress(NightjarError, ItemFailure):  # the next commit reports it
                    self._swap(self.head)


#: Fields that a new holder takes over.
_OF_THE_RUN = ("shards", "digest", "last", "dropped")


def _busy(path: BucketPath, head: Head) -> RunBusy:
    return RunBusy(
        f"{path.parent} is being written by {head.holder}",
        "wait for it, stop it, or start a new run directory with --new",
    )


def _process(pid: int) -> str:
    """A unique name of a process: boot id of the kernel, PID namespace, PID, start time."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
        return f"{boot} {space} {pid} {_started(pid)}"
    except OSError:
        return ""


def _alive(process: str) -> bool | None:
    """Whether a process runs; None if it is on another machine or in another namespace."""
    mine, theirs = _process(os.getpid()).rsplit(" ", 2), process.rsplit(" ", 2)
    if len(theirs) != 3 or mine[0] != theirs[0]:
        return None
    try:
        return _started(int(theirs[1])) == theirs[2]
    except FileNotFoundError:
        return False


def _started(pid: int) -> str:
    """Start time in clock ticks since boot; "" for a zombie."""
    behind_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "" if behind_name[0] == "Z" else behind_name[19]  # fields 3 and 22
