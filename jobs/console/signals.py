"""What Ctrl-C, SIGTERM and SIGHUP do to a command."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from pipelines.engine.stopping import EXIT_CODE, Stop, Stopped, end_now

#: Exit code of a command whose output nobody reads any more, as a shell reports SIGPIPE.
_NO_READER = 141
_INTERRUPTED = "Stopped. Start the same command again to go on.\n"

#: Whether the message is out. Another signal can come while the first ends the process.
_said = False


def interrupt_on_signals() -> None:
    """SIGINT (Ctrl-C), SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread.

    A second one ends the process, because it may hit code that handles the first.
    A shell starts background commands (`nightjar serve vlm FILE &`) with SIGINT ignored, and Ray
    installs its own handlers. Without this function the server would outlive the command and keep
    its port. An ignored SIGHUP stays ignored: `nohup` asks for that.
    """
    global _said
    _said, asked = False, False

    def handle(*_: object) -> None:
        nonlocal asked
        if asked:
            _say(_INTERRUPTED)
            end_now()
        asked = True
        raise KeyboardInterrupt

    atexit.register(_handle, signal.SIG_IGN)  # called early, so it runs last
    _handle(handle)


def stop_on_signals() -> Stop:
    """The signals that this process gets from now on, for a run.

    While they are not held off, the first raises Stopped, and the second ends the process.
    """
    stop = Stop(leave)

    def handle(number: int, _: FrameType | None) -> None:
        first = stop.signal is None
        stop.ask(signal.Signals(number).name)
        if stop.deferred:
            return
        if first:
            raise Stopped(stop.signal)
        leave(stop.signal)

    _handle(handle)
    return stop


def _handle(handler: object) -> None:
    """Set the handler. Python's end replaces all but SIG_IGN by the default, which kills."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]


def leave(name: str | None) -> NoReturn:
    """End a run that the signal `name` stopped, and every process below it, with a message.

    Also called by a signal handler. So it writes without Python's buffers and their locks.
    """
    _say(f"Stopped by {name}. What is committed is kept; the same command goes on.\n")
    end_now()


def end_interrupted() -> NoReturn:
    """End a command other than a run after KeyboardInterrupt, with a message."""
    _handle(lambda *_: os._exit(EXIT_CODE))  # another signal must not interrupt Python's end
    _say(_INTERRUPTED)
    end_flushed(EXIT_CODE)


def _say(text: str) -> None:
    global _said
    if _said:
        return
    _said = True
    with suppress(OSError):  # the terminal is gone
        os.write(sys.stderr.fileno(), text.encode())


def end_as(end: SystemExit | KeyboardInterrupt) -> NoReturn:
    """End the command as Typer decided, but not in silence after a signal.

    Typer turns KeyboardInterrupt into exit code 130; Rich and Typer turn EPIPE into 1.
    """
    if isinstance(end, KeyboardInterrupt):
        _end_stopped(end)
    reason = end.__context__
    if isinstance(reason, BrokenPipeError):
        end_flushed(_NO_READER)
    stopped = reason.__cause__ if reason else None
    if isinstance(stopped, KeyboardInterrupt):
        _end_stopped(stopped)
    end_flushed(end.code)


def _end_stopped(stopped: KeyboardInterrupt) -> NoReturn:
    if isinstance(stopped, Stopped):
        leave(str(stopped))
    end_interrupted()


def end_flushed(code: int | str | None) -> NoReturn:
    """`sys.exit(code)` after the output is written; 141 without a message if nobody reads it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            # Python flushes again at its end, and would report an ignored exception.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = _NO_READER
    sys.exit(code)
