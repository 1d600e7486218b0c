"""Loads longer than any timeout."""

from __future__ import annotations

import time

from doubles.counting_reader import CountingReader, ReaderConfig


class NeverStarts(CountingReader):
    def __init__(self, config: ReaderConfig) -> None:
        time.sleep(600)
