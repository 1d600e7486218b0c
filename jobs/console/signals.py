"""Signals that stop a command which serves until Ctrl-C."""

from __future__ import annotations

import signal


def interrupt_on_signals() -> None:
    """SIGINT (Ctrl-C) and SIGTERM raise KeyboardInterrupt in the main thread.

    A shell starts background commands (`nightjar serve vlm FILE &`) with SIGINT ignored, and Ray
    installs its own handlers. Without this function the server would outlive the command and keep
    its port.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
