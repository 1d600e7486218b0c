"""OutputUnwritable, with a remedy, from an OSError while writing to a run directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import NightjarError, OutputUnwritable
from pipelines.storage.paths import RunPath


@contextmanager
def output_errors(path: RunPath) -> Iterator[None]:
    """Turn an OSError while writing below `path` into OutputUnwritable."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def output_error(path: RunPath, error: OSError) -> NightjarError:
    """The error to raise for an OSError while writing below `path`."""
    remedies = {
        errno.ENOSPC: "free space or move run_dir; then start the same command again: "
        "committed rows are kept",
        errno.EDQUOT: "raise the quota or move run_dir; then start the same command again",
        errno.EACCES: "make run_dir writable for this user, or choose another run_dir",
        errno.EROFS: "run_dir is on a read-only file system; choose another run_dir",
        errno.ENOTDIR: "a file has the name of a directory; choose another run_dir",
        errno.EEXIST: "a file has the name of a directory; choose another run_dir",
    }
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = remedies.get(error.errno or 0, "check the file system of run_dir")
    return OutputUnwritable(f"cannot write to {path}: {reason}", remedy)
