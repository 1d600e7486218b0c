"""How a command that serves until it is told to stop is told."""

from __future__ import annotations

import signal


def interrupt_on_signals() -> None:
    """SIGINT (Ctrl-C) and SIGTERM raise KeyboardInterrupt in the main thread.

    Also where a shell has SIGINT ignored (`nightjar serve vlm FILE &` in a script), and where Ray
    has a handler of its own: whoever just ends leaves a server on its port.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
