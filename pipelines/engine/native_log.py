"""Redirects the stderr of native libraries to a log file of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from pipelines.errors import NightjarError
from pipelines.storage.paths import RunPath

#: Bytes at the end of the log that are kept in a bucket.
_LOG_BYTES = 1 << 20


@contextmanager
def native_stderr_to(path: RunPath) -> Iterator[None]:
    """Send file descriptor 2, which C++ code writes to, to a file. Python's stderr is unchanged.

    Ray prints a warning there for every pool of Ray Data (ray#53727), in the middle of the display.
    A bucket cannot append, so its log holds the last session only.
    """
    sys.stderr.flush()
    python_stderr, terminal = sys.stderr, os.dup(2)
    with _log_file(path) as log, os.fdopen(terminal, "w", buffering=1) as sys.stderr:
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            sys.stderr = python_stderr


@contextmanager
def _log_file(path: RunPath) -> Iterator[IO[bytes]]:
    if isinstance(path, Path):
        with path.open("ab") as log:
            yield log
        return
    with TemporaryFile() as log:
        try:
            yield log
        finally:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            with suppress(NightjarError):  # must not hide an error of the run
                path.write_bytes(log.read())
