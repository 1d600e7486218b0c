"""Circuit breaker: pauses requests to a failing endpoint and detects its recovery."""

from __future__ import annotations

import time
from enum import Enum


class Admission(Enum):
    """Whether a request may be sent."""

    GO = "go"
    PROBE = "probe"  # the single request that tests whether the endpoint has recovered
    NO = "no"


class Breaker:
    """Opens after `limit` failed requests in a row; after `pause_s` it lets one probe through.

    A dead endpoint then costs a few timeouts instead of one per row. For use inside one event loop.
    """

    def __init__(self, limit: int, pause_s: float) -> None:
        self._limit = limit
        self._pause_s = pause_s
        self._failed = 0
        self._open_until: float | None = None  # None: closed
        self._probing = False
        self.last = ""  #: error of the last failed request

    def closed_s(self) -> float:
        """Seconds until the next request may be sent; 0: now."""
        if self._open_until is None:
            return 0.0
        left = max(0.0, self._open_until - time.monotonic())
        return max(left, 0.001) if self._probing else left

    def admit(self) -> Admission:
        """Call it before each request. Every admitted request must call `report` afterwards."""
        if self.closed_s() > 0:
            return Admission.NO
        if self._open_until is None:
            return Admission.GO
        self._probing = True
        return Admission.PROBE

    def report(self, admission: Admission, served: bool | None, what: str = "") -> None:
        """Record the end of a request.

        Args:
            admission: the value from `admit`.
            served: whether the endpoint works; None: unknown.
            what: the error message.
        """
        if admission is Admission.PROBE:
            self._probing = False
        if served:
            self._failed, self._open_until = 0, None
        elif served is False:
            self._failed += 1
            self.last = what
            if self._failed >= self._limit:
                self._open_until = time.monotonic() + self._pause_s
