"""Fixture: a folder in memory, for tests with many fsyncs, each of which takes up to a second on a
slow disk. A test module gets it by ``pytest_plugins = ["in_memory"]``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")
_ROOM = 256 << 20


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory; `tmp_path` if there are less than 256 MB."""
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="nightjar-", dir=_MEMORY) as inside:
        yield Path(inside)
