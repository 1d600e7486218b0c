"""A model whose weights are missing."""

from __future__ import annotations

from doubles.counting_reader import CountingReader, ReaderConfig

from actors.failures import SetupError


class CannotStart(CountingReader):
    def __init__(self, config: ReaderConfig) -> None:
        raise SetupError("no weights at /models/none", "download them first")
