"""Reads that wait while the store is down, so that an outage does not fail rows.

A failed row is final: a second start of the run does not repeat it. Without the wait, an outage of
15 minutes would fail thousands of rows.
"""

from __future__ import annotations

import time

from actors.failures import ItemFailure
from pipelines.errors import SourceUnavailable
from pipelines.storage.client import Storage
from pipelines.storage.objects import TransientFailure, is_bucket
from pipelines.storage.s3 import Expired

#: Seconds between two attempts to reach a store that is down; each attempt has its own retries.
_PAUSE_S = 5.0


class PatientReads:
    """Thread-safe reads of a source. `outage_s`: seconds to wait for a store that is down."""

    def __init__(self, storage: Storage, outage_s: float) -> None:
        self._storage = storage
        self._outage_s = outage_s

    def read(self, uri: str, *, max_bytes: int, etag: str | None) -> bytes:
        """As `Storage.read`; waits while the store does not answer or rejects the credentials.

        Raises ItemFailure if the store answers but refuses this object, SourceUnavailable if it is
        still down after `outage_s`.
        """
        began = time.monotonic()
        while True:
            try:
                return self._storage.read(uri, max_bytes=max_bytes, etag=etag)
            except (TransientFailure, Expired) as fault:
                if not is_bucket(uri):
                    raise
                down = self._down(uri)
                if down is None:  # the outage may have ended meanwhile: read once more
                    return self._storage.read(uri, max_bytes=max_bytes, etag=etag)
                left = began + self._outage_s - time.monotonic()
                if left <= 0:
                    raise _given_up(down, time.monotonic() - began) from fault
                time.sleep(min(_PAUSE_S, left))

    def _down(self, uri: str) -> ItemFailure | None:
        """Why the store does not answer; None if it does."""
        try:
            self._storage.s3.reach(uri)
        except ItemFailure as fault:
            return fault
        return None


def _given_up(fault: ItemFailure, seconds: float) -> SourceUnavailable:
    denied = isinstance(fault, Expired)
    what = "has rejected the credentials" if denied else "has not answered"
    remedy = "renew the credentials" if denied else "check that the store is up"
    return SourceUnavailable(
        f"the store of the source {what} for {seconds:.0f} s: {fault.message}",
        f"{remedy}, then start the same command again. Committed rows are kept, and the outage "
        "failed no row. fetch.outage_s sets how long to wait",
    )
