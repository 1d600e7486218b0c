"""The line between a fault of one object and a fault of its source. It is drawn here only.

A failure is the row's only if another row could have succeeded at the same moment. Otherwise the
read waits (`fetch.outage_s`) and then stops the run, because a failed row is final: a second start
does not repeat it.

Some faults say of themselves that they are everybody's: no answer, refused credentials, a missing
bucket, no room to unpack. Others do not: one missing file looks like a mount that is gone, one
denied object like a revoked right. Then another object is read, one that was readable before.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import NightjarError, SourceUnavailable, WorkerUnfit
from pipelines.storage.client import Storage
from pipelines.storage.local import room_to_unpack, temporary_folder
from pipelines.storage.objects import (
    BucketMissing,
    CredentialsRefused,
    NoRoomToUnpack,
    TransientFailure,
    split_member,
)

T = TypeVar("T")

#: Failures that a source as a whole can cause. All others are about the content of one object.
_OF_A_SOURCE = frozenset(
    {FailureKind.OBJECT_MISSING, FailureKind.PERMISSION_DENIED, FailureKind.STORAGE_ERROR}
)
#: Seconds between two looks at a source that is down; each attempt has its own retries.
_PAUSE_S = 5.0
#: Times that the source must be sound, before and after one more attempt, until a fault is the
#: object's own: an outage can end or begin between an attempt and the look at the source.
_LOOKS = 2
#: Objects that are read to judge a source: the last one that was readable, and others at random.
_OTHERS = 3
#: Readable objects that are remembered.
_REMEMBERED = 8


class PatientReads:
    """Thread-safe reads of a source that wait while it is down."""

    def __init__(
        self,
        storage: Storage,
        outage_s: float,
        others: Sequence[str] = (),
        *,
        lenient: bool = False,
    ) -> None:
        """
        Args:
            storage: client of the source.
            outage_s: seconds to wait for a source that is down.
            others: URIs of the source that were readable when it was listed.
            lenient: as long as nothing has been read, a denied object is a fault of its own. For
                planning, which judges the share of denied objects.
        """
        self._storage = storage
        self._outage_s = outage_s
        self._source = _Source(storage, others, lenient)

    def read(self, uri: str, *, max_bytes: int, etag: str | None) -> bytes:
        """As `Storage.read`, with the errors of `patiently`."""
        return self.patiently(uri, lambda: self._storage.read(uri, max_bytes=max_bytes, etag=etag))

    def patiently(self, uri: str, attempt: Callable[[], T]) -> T:
        """`attempt()`, which reads `uri`; repeated while no object of the source can be read.

        Raises ItemFailure if the fault is this object's own. If the source is still down after
        `outage_s`: SourceUnavailable, or WorkerUnfit for the temporary folder of this machine.
        """
        began, sound = time.monotonic(), 0
        while True:
            try:
                result = attempt()
            except ItemFailure as fault:
                if fault.kind not in _OF_A_SOURCE:
                    raise
                down = self._source.down(uri, fault)
                sound = 0 if down else sound + 1
                if sound == _LOOKS:
                    raise
                if down:
                    self._wait(began, down)
            else:
                self._source.remember(uri)
                return result

    def _wait(self, began: float, down: ItemFailure) -> None:
        waited = time.monotonic() - began
        if waited >= self._outage_s:
            raise _given_up(down, waited) from down
        time.sleep(min(_PAUSE_S, self._outage_s - waited))


class _Source:
    """What is known about the readable objects of a source. Thread-safe."""

    def __init__(self, storage: Storage, others: Sequence[str], lenient: bool) -> None:
        self._storage = storage
        self._others = [split_member(uri)[0] for uri in others]
        self._lenient = lenient
        self._read: deque[str] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def remember(self, uri: str) -> None:
        """`uri` has been read."""
        stored = split_member(uri)[0]
        with self._lock:
            if stored not in self._read:
                self._read.append(stored)

    def down(self, uri: str, fault: ItemFailure) -> ItemFailure | None:
        """Why no object of the source of `uri` can be read now; None if only `uri` cannot."""
        if isinstance(fault, NoRoomToUnpack):
            return fault if _is_full() else None
        if isinstance(fault, BucketMissing):
            return fault
        gone = None
        try:
            self._storage.reach(uri)
        except ItemFailure as why:
            if isinstance(why, BucketMissing) or why.kind is not FailureKind.OBJECT_MISSING:
                return why
            gone = why
        others = self._candidates(uri)
        for other in others:
            why_not = self._unreadable(other)
            if why_not is None:
                return None
            if isinstance(why_not, (TransientFailure, CredentialsRefused)):
                return why_not
        if others:
            return _with(fault, f"and {others[0]} cannot be read either")
        if gone:
            return gone
        denied = fault.kind is FailureKind.PERMISSION_DENIED
        return fault if denied and not self._lenient else None

    def _candidates(self, uri: str) -> list[str]:
        """Other objects of the same place: the last that was read first, the rest at random."""
        stored = split_member(uri)[0]
        with self._lock:
            read = [one for one in reversed(self._read) if _beside(one, stored)]
        rest = list({one for one in self._others if _beside(one, stored)} - set(read))
        random.shuffle(rest)
        first = read[:1]
        more = [*rest, *read[1:]]
        return (first + more)[:_OTHERS]

    def _unreadable(self, uri: str) -> ItemFailure | None:
        try:
            self._storage.read_head(uri, 1)
        except ItemFailure as fault:
            return fault if fault.kind in _OF_A_SOURCE else None
        return None


def _beside(other: str, uri: str) -> bool:
    """Whether both are in one bucket, or both are local files; rights differ from place to place.

    A list may name files of several mounts. If one of them goes, files of the others speak for it.
    """
    return other != uri and _place(other) == _place(uri)


def _place(uri: str) -> str:
    scheme, found, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if found and scheme != "file" else ""


def _is_full() -> bool:
    """Whether the temporary folder is full now, without the archive that did not fit."""
    try:
        room_to_unpack()
    except OSError:
        return True
    return False


def _with(fault: ItemFailure, more: str) -> ItemFailure:
    return ItemFailure(fault.kind, f"{fault.message}, {more}")


def _given_up(down: ItemFailure, seconds: float) -> NightjarError:
    again = (
        ", then start the same command again. Committed rows are kept, and the outage failed no "
        "row. fetch.outage_s sets how long to wait"
    )
    if isinstance(down, NoRoomToUnpack):
        return WorkerUnfit(
            f"there was no room to unpack an archive for {seconds:.0f} s: {down.message}",
            f"free space in {temporary_folder()}, or set TMPDIR to a larger folder" + again,
        )
    if isinstance(down, CredentialsRefused):
        what, remedy = "has rejected the credentials", "renew the credentials"
    elif down.kind is FailureKind.PERMISSION_DENIED:
        what = "has let this user read nothing"
        remedy = "give this user the right to read the objects"
    elif down.kind is FailureKind.OBJECT_MISSING:
        what = "has been gone"
        remedy = "mount or restore it (if its files are gone for good, list it again with --new)"
    else:
        what, remedy = "has not answered", "check that the store is up"
    return SourceUnavailable(
        f"the store of the source {what} for {seconds:.0f} s: {down.message}", remedy + again
    )
