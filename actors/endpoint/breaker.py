"""Stops asking an endpoint that is gone, and finds out when it is back."""

from __future__ import annotations

import time
from enum import Enum


class Admission(Enum):
    """What a call may do."""

    GO = "go"
    PROBE = "probe"  # the one call that finds out whether the endpoint is back
    NO = "no"


class Breaker:
    """Opens after `limit` calls in a row that got nothing; after `pause_s` lets one call probe.

    A dead endpoint then costs its timeouts a few times, not once a row for the rest of the night.
    For use inside one event loop.
    """

    def __init__(self, limit: int, pause_s: float) -> None:
        self._limit = limit
        self._pause_s = pause_s
        self._failed = 0
        self._open_until: float | None = None  # None: closed
        self._probing = False
        self.last = ""  #: what the last call that got nothing met

    def closed_s(self) -> float:
        """Seconds until the next call may go out; 0: at once."""
        if self._open_until is None:
            return 0.0
        left = max(0.0, self._open_until - time.monotonic())
        return max(left, 0.001) if self._probing else left

    def admit(self) -> Admission:
        """Ask before each call. Every call that may go out must `report`."""
        if self.closed_s() > 0:
            return Admission.NO
        if self._open_until is None:
            return Admission.GO
        self._probing = True
        return Admission.PROBE

    def report(self, admission: Admission, served: bool | None, what: str = "") -> None:
        """How the call ended. `served`: whether the endpoint did its work; None: cannot tell."""
        if admission is Admission.PROBE:
            self._probing = False
        if served:
            self._failed, self._open_until = 0, None
        elif served is False:
            self._failed += 1
            self.last = what
            if self._failed >= self._limit:
                self._open_until = time.monotonic() + self._pause_s
