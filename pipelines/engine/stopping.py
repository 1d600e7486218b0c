"""Ends a run early when a signal asks for it.

A signal handler runs between any two steps of the main thread, also while this thread holds a lock
or Ray starts. Raising an exception there left Ray's processes behind or crashed its C++ code. So
the handler only counts, and the driver looks at the count (`Stop`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import psutil

from pipelines.errors import ClusterUnreachable, RunFailed

#: Exit code of a command that a signal ended.
EXIT_CODE = 130
#: Seconds after the second signal in which the session is recorded and the lease is released.
_AT_ONCE_S = 10.0
#: Seconds, after those for the rows in flight, in which Ray ends and the session is recorded.
_SHUTDOWN_S = 40.0
_WATCH_S = 0.5


class Stopped(KeyboardInterrupt):
    """A signal ended the run; the message is the signal's name. Committed rows are kept."""


class Stop:
    """The signals that a run has got. A first one asks it to finish the rows in flight.

    `leave`: ends the process with the name of the signal; for a run that hangs after a signal.

    Attributes:
        signal: name of the first signal ("SIGINT"); None: no signal so far.
        at_once: a second signal came: nothing more is committed.
        deferred: signals are only counted; otherwise the handler raises `Stopped`.
    """

    def __init__(self, leave: Callable[[str | None], object] = lambda _: end_now()) -> None:
        self._leave = leave
        # Plain attributes: a handler must take no lock.
        self.signal: str | None = None
        self.at_once = False
        self.deferred = False
        self._finish_s = 0.0
        self._first: float | None = None
        self._second: float | None = None

    def ask(self, signal: str) -> None:
        """Count a signal."""
        if self._first is None:
            self.signal, self._first = signal, time.monotonic()
        elif self._second is None:
            self.at_once, self._second = True, time.monotonic()

    def check(self) -> None:
        """Raise Stopped after the second signal."""
        if self.at_once:
            raise Stopped(self.signal)

    @property
    def in_time(self) -> bool:
        """Whether rows in flight can still be finished."""
        return not self.at_once and (
            self._first is None or time.monotonic() < self._first + self._finish_s
        )

    @contextmanager
    def held_off(self, finish_s: float) -> Iterator[None]:
        """Only count signals within the block. Raises Stopped after it if there was one.

        `finish_s`: seconds for the rows in flight. If the block hangs, the process ends.
        """
        self._finish_s, self.deferred = finish_s, True
        threading.Thread(target=self._watch, name="nightjar-stop", daemon=True).start()
        try:
            yield
        except (ClusterUnreachable, RunFailed) as error:
            # A signal to all processes (`timeout`, systemd) ends Ray's daemons too.
            if self.signal is None:
                raise
            raise Stopped(self.signal) from error
        finally:
            self.deferred = False
        if self.signal is not None:
            raise Stopped(self.signal)

    def _watch(self) -> None:
        while self.deferred:
            now = time.monotonic()
            late = self._first and now > self._first + self._finish_s + _SHUTDOWN_S
            if late or (self._second and now > self._second + _AT_ONCE_S):
                self._leave(self.signal)
            time.sleep(_WATCH_S)


def end_now() -> NoReturn:
    """End this process and all below it, without Python's and Ray's own shutdown.

    Ray's daemons go last, and one that starts processes is paused first. Ray's C++ code in this
    process aborts some time after its raylet has ended; this process ends before.
    """
    me = psutil.Process()
    daemons = [one for one in me.children(recursive=True) if _is_daemon(one)]
    for daemon in daemons:
        with suppress(psutil.Error):
            daemon.suspend()
    workers = [one for one in me.children(recursive=True) if one not in daemons]
    for one in [*workers, *daemons]:
        with suppress(psutil.Error):
            one.kill()
    os._exit(EXIT_CODE)


def _is_daemon(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.name() in ("raylet", "gcs_server")
    return False
