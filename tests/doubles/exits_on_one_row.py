"""Calls sys.exit on the poison row: inside a Ray worker this hangs the pool (ray#62746)."""

from __future__ import annotations

import sys

from doubles.counting_reader import CountingReader


class ExitsOnOneRow(CountingReader):
    def meet(self, row: int) -> None:
        if row == self.config.poison_row:
            sys.exit(3)
