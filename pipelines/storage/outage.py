"""A store that answers nobody is no fault of the object that was asked for.

An object that cannot be read is a named failure in its row, for good: a run that is started again
does not repeat it. While a store is down for a quarter of an hour, that would be thousands of rows.
"""

from __future__ import annotations

import time

from actors.failures import ItemFailure
from pipelines.errors import SourceUnavailable
from pipelines.storage.client import Storage
from pipelines.storage.objects import TransientFailure, is_s3
from pipelines.storage.s3 import Expired

#: Seconds between two questions to a store that is down; each is tried several times by itself.
_PAUSE_S = 5.0


class PatientReads:
    """Reads of a source, by many threads. `outage_s`: how long an outage is waited for."""

    def __init__(self, storage: Storage, outage_s: float) -> None:
        self._storage = storage
        self._outage_s = outage_s

    def read(self, uri: str, *, max_bytes: int, etag: str | None) -> bytes:
        """As `Storage.read`; waits while the store answers nobody, or takes no credentials.

        Raises ItemFailure where the store answers but will not give this object,
        SourceUnavailable when it is still down after `outage_s`.
        """
        began = time.monotonic()
        while True:
            try:
                return self._storage.read(uri, max_bytes=max_bytes, etag=etag)
            except (TransientFailure, Expired) as fault:
                if not is_s3(uri):
                    raise
                down = self._down(uri)
                if down is None:  # or no longer: the last try may have met the end of an outage
                    return self._storage.read(uri, max_bytes=max_bytes, etag=etag)
                left = began + self._outage_s - time.monotonic()
                if left <= 0:
                    raise _given_up(down, time.monotonic() - began) from fault
                time.sleep(min(_PAUSE_S, left))

    def _down(self, uri: str) -> ItemFailure | None:
        """Why the store answers nobody; None where it does."""
        try:
            self._storage.s3.reach(uri)
        except ItemFailure as fault:
            return fault
        return None


def _given_up(fault: ItemFailure, seconds: float) -> SourceUnavailable:
    denied = isinstance(fault, Expired)
    what = "takes no credentials of ours" if denied else "does not answer"
    renew = "renew them" if denied else "see that it is up"
    return SourceUnavailable(
        f"the store of the source {what} any more, for {seconds:.0f} s: {fault.message}",
        f"{renew}, then start the same command again: what is committed is kept, and no row has "
        "failed for it. fetch.outage_s says how long to wait",
    )
