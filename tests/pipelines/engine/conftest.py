"""Fixtures of the engine's tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> Iterator[None]:
    """As in a worker process: what was imported costs a gc.collect() nothing (0.2 s otherwise)."""
    gc.freeze()
    yield
    gc.unfreeze()
