"""One object that says who may commit to a run in a bucket, and what was committed last.

A bucket has neither locks nor renames. What it has is the conditional write: a PUT that succeeds
only if the object still is the version that the writer has seen (If-Match), or is not there
(If-None-Match). So `lease.json` is a register that is compared and swapped. Taking the run over,
a sign of life and every commit are swaps of it: a driver that was stopped for an hour and wakes up
holds an etag that is gone, and whatever it swaps is refused. No clock is needed for that; clocks
only say when a silent holder may be taken for dead.
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
from pipelines.storage.paths import S3Path, writing
from pipelines.storage.s3 import Conflict, Stored

#: Seconds of silence after which a holder is taken for dead; it gives three signs in that time.
LEASE_S = 30.0
_TICK_S = 0.25
_CLOCK_S = 1.0  #: what a store says of times is in whole seconds


class Commit(BaseModel):
    """A shard that is committed, whether or not it has been copied into place yet."""

    model_config = ConfigDict(frozen=True)

    name: str
    staged: str  #: folder of the run that its writer put it into
    rejects: bool


class Head(BaseModel):
    """What `lease.json` holds. `digest`: xor over the hashes of the names of all shards, hex."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    number: int  #: of this swap
    session: str
    holder: str  #: for people
    process: str  #: for whoever can see whether it is alive
    released: bool = False
    shards: int = 0
    digest: str = "0"
    last: Commit | None = None


class Lease:
    """A context manager: holds the run from enter to exit, with signs of life in a thread.

    Enter raises RunBusy, RunConflict, OutputUnwritable (no conditional writes, no answer).
    """

    def __init__(self, path: S3Path, seconds: float = LEASE_S) -> None:
        """`path`: of the object. `seconds`: see LEASE_S."""
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
            if self._lost is None:  # else the next one finds out by itself
                self._swap(self.head.model_copy(update={"released": True}))

    @property
    def head(self) -> Head:
        """As it was swapped last."""
        if self._head is None:
            raise RuntimeError("the lease is not held")
        return self._head

    def swap(self, **changes: object) -> None:
        """Change the head. Raises RunBusy if another has taken the run over, OutputUnwritable.

        After any of them nothing can be swapped any more: what the store has done is not known.
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
            with suppress(Conflict):  # another was faster: look again
                self._put(mine, found[1].etag if found else None)
                self.is_new = found is None

    def _wait_until_free(self, head: Head, stored: Stored) -> None:
        """Return when the holder is gone. Raises RunBusy at its next sign of life."""
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
            stored = self._path.s3.stored(str(self._path))
            return Head.model_validate_json(stored.data), stored
        except ValidationError as error:
            raise RunConflict(
                f"{self._path} is no lease that this version reads: {error.error_count()} faults",
                "start beside it with --new",
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
        # An earlier try of ours did arrive, and only its answer got lost on the way.
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
        uri, s3 = str(self._path), self._path.s3
        self._etag = s3.put(uri, body, replaces=replaces, new=replaces is None)
        self._head = head

    def _taken(self, found: tuple[Head, Stored] | None) -> RunBusy:
        who = f"taken over by {found[0].holder}" if found else f"let go: {self._path} is gone"
        self._lost = RunBusy(
            f"{self._path.parent} was {who} while this process gave no sign of life",
            "nothing was committed since; what was committed before is kept",
        )
        return self._lost

    def _check_conditions(self) -> None:
        """Refuse a store that ignores conditions: two drivers could commit the same rows there.

        The body is the one that is there, so that a store which takes it changes nothing.
        """
        body = self.head.model_dump_json().encode()
        uri, s3 = str(self._path), self._path.s3
        for name, replaces in (("If-None-Match", None), ("If-Match", "0" * 32)):
            try:
                s3.put(uri, body, replaces=replaces, new=replaces is None)
            except Conflict:
                continue
            raise OutputUnwritable(
                f"the store of {self._path.parent} ignores {name}: it could not keep two drivers "
                "apart",
                "take one with conditional writes (AWS S3, MinIO, R2, Ceph), or a run_dir on disk",
            )

    def _show_life(self) -> None:
        while not self._done.wait(self._seconds / 3):
            with self._mutex:
                if self._lost is not None:
                    return
                with suppress(NightjarError, ItemFailure):  # the next commit or sign meets it too
                    self._swap(self.head)


#: What a new holder takes over from the one before.
_OF_THE_RUN = ("shards", "digest", "last")


def _busy(path: S3Path, head: Head) -> RunBusy:
    return RunBusy(
        f"{path.parent} is being written by {head.holder}",
        "wait for it, stop it, or start beside it with --new",
    )


def _process(pid: int) -> str:
    """Names a process for all who could see it: its kernel, its namespace, its id and start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
        return f"{boot} {space} {pid} {_started(pid)}"
    except OSError:
        return ""


def _alive(process: str) -> bool | None:
    """None where it cannot be seen from here."""
    mine, theirs = _process(os.getpid()).rsplit(" ", 2), process.rsplit(" ", 2)
    if len(theirs) != 3 or mine[0] != theirs[0]:
        return None
    try:
        return _started(int(theirs[1])) == theirs[2]
    except FileNotFoundError:
        return False


def _started(pid: int) -> str:
    """Clock ticks since boot, "" for a process that has ended and was not waited for yet."""
    behind_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "" if behind_name[0] == "Z" else behind_name[19]  # fields 3 and 22
