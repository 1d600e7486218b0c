"""Works until the poison row; then it cannot work any more and says so."""

from __future__ import annotations

from doubles.counting_reader import CountingReader

from actors.failures import SetupError


class CannotGoOn(CountingReader):
    def meet(self, row: int) -> None:
        if row == self.config.poison_row:
            raise SetupError("the renderer's process does not start", "free space in /tmp")
