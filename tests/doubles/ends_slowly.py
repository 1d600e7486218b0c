"""Is told to end, and is not through with it for ten minutes."""

from __future__ import annotations

import atexit
import time

from doubles.counting_reader import CountingReader, ReaderConfig


class EndsSlowly(CountingReader):
    def __init__(self, config: ReaderConfig) -> None:
        super().__init__(config)
        atexit.register(time.sleep, 600)
