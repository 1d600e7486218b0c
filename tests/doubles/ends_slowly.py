"""Needs ten minutes to exit after it is told to."""

from __future__ import annotations

import atexit
import time

from doubles.counting_reader import CountingReader, ReaderConfig


class EndsSlowly(CountingReader):
    def __init__(self, config: ReaderConfig) -> None:
        super().__init__(config)
        atexit.register(time.sleep, 600)
