"""What an OSError of writing means, with a remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import NightjarError, OutputUnwritable
from pipelines.storage.paths import RunPath


@contextmanager
def output_errors(path: RunPath) -> Iterator[None]:
    """Turn an OSError of writing below `path` into OutputUnwritable with a remedy."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def output_error(path: RunPath, error: OSError) -> NightjarError:
    """The error to raise for `error` while writing below `path`."""
    remedies = {
        errno.ENOSPC: "free space or move run_dir; then start the same command again: "
        "what is committed is kept",
        errno.EDQUOT: "raise the quota or move run_dir; then start the same command again",
        errno.EACCES: "make run_dir writable for this user, or choose another",
        errno.EROFS: "run_dir is on a read-only file system; choose another",
        errno.ENOTDIR: "a file is where run_dir needs a directory; choose another",
        errno.EEXIST: "a file is where run_dir needs a directory; choose another",
    }
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = remedies.get(error.errno or 0, "check the file system of run_dir")
    return OutputUnwritable(f"cannot write to {path}: {reason}", remedy)
