"""Dies by SIGKILL on the poison row, as a segfault in native code or the OOM killer would do it."""

from __future__ import annotations

import os
import signal

from doubles.counting_reader import CountingReader


class KillsProcessOnOneRow(CountingReader):
    def meet(self, row: int) -> None:
        if row == self.config.poison_row:
            os.kill(os.getpid(), signal.SIGKILL)
