"""Raises an unexpected exception if the poison row is in the batch."""

from __future__ import annotations

from doubles.counting_reader import CountingReader


class RaisesOnOneRow(CountingReader):
    def meet(self, row: int) -> None:
        if row == self.config.poison_row:
            raise ZeroDivisionError("the model met something it was never shown")
