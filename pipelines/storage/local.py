"""Files on a local or mounted file system: read, replace atomically."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.objects import (
    Entry,
    StorageSettings,
    TransientFailure,
    check_etag,
    check_size,
    local_path,
    local_uri,
    retried,
)
from pipelines.storage.walk import etag_of

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM}
#: Errors of network file systems; some do not exist on every system.
_NO_ANSWER = {
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EINTR", "EREMOTEIO", "ENOLINK"),
        *("ENOTCONN", "ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "ESHUTDOWN"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH"),
    )
    if hasattr(errno, name)
}


class LocalFiles:
    """Thread-safe. Every method that reads raises ItemFailure."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings

    def get(
        self,
        uri: str,
        *,
        max_bytes: int,
        etag: str | None = None,
        span: tuple[int, int] | None = None,
    ) -> bytes:
        """The file, or its bytes in `span` [start, end)."""
        return retried(self._settings.max_attempts, lambda: self._get(uri, max_bytes, etag, span))

    def _get(
        self, uri: str, max_bytes: int, etag: str | None, span: tuple[int, int] | None
    ) -> bytes:
        with self.open(uri, etag) as file, _failures_of(uri):
            size = os.fstat(file.fileno()).st_size
            start, end = span or (0, size)
            wanted = min(end, size) - start
            check_size(uri, wanted, max_bytes)
            file.seek(start)
            data = file.read(wanted)
        if len(data) < wanted:
            raise ItemFailure(FailureKind.OBJECT_CHANGED, f"{uri} became shorter while it was read")
        return data

    def open(self, uri: str, etag: str | None = None) -> IO[bytes]:
        """The file; the caller closes it. Raises UNSUPPORTED_KIND unless it is a regular file."""
        with _failures_of(uri):  # without O_NONBLOCK, a named pipe blocks until it has a writer
            fd = os.open(local_path(uri), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ItemFailure(FailureKind.UNSUPPORTED_KIND, f"{uri} is not a regular file")
            check_etag(uri, etag_of(status), etag)
        except BaseException:
            os.close(fd)
            raise
        return os.fdopen(fd, "rb")

    def reach(self, uri: str) -> None:
        """Check that the folder of `uri` is there and holds something.

        Raises OBJECT_MISSING if it is gone or empty: a mount that is gone looks like that. Raises
        STORAGE_ERROR if its file system does not answer. A user without permission to list the
        folder may still have permission to read.
        """
        folder = os.fsencode(Path(os.fsdecode(local_path(uri))).parent)
        try:
            with _failures_of(local_uri(folder)), os.scandir(folder) as entries:
                found = next(entries, None)
        except ItemFailure as fault:
            if fault.kind is not FailureKind.PERMISSION_DENIED:
                raise
            return
        if found is None:
            raise ItemFailure(
                FailureKind.OBJECT_MISSING, f"the folder {local_uri(folder)} is empty"
            )

    def stat(self, uri: str) -> Entry:
        """Version and size."""

        def attempt() -> os.stat_result:
            with _failures_of(uri):
                return Path(os.fsdecode(local_path(uri))).stat()

        status = retried(self._settings.max_attempts, attempt)
        return Entry(uri, etag_of(status), status.st_size)


def no_answer(error: BaseException) -> bool:
    """Whether a file system did not answer, whatever the content of the file is."""
    return isinstance(error, OSError) and error.errno in _NO_ANSWER


@contextmanager
def _failures_of(uri: str) -> Iterator[None]:
    """Turn OSError into ItemFailure with the right kind."""
    try:
        yield
    except OSError as error:
        message = f"{uri}: {error.strerror or error}"
        if error.errno in _GONE:
            raise ItemFailure(FailureKind.OBJECT_MISSING, message) from error
        if error.errno in _DENIED:
            raise ItemFailure(FailureKind.PERMISSION_DENIED, message) from error
        if no_answer(error):
            raise TransientFailure(message) from error
        raise ItemFailure(FailureKind.STORAGE_ERROR, message) from error
    except ValueError as error:  # a NUL in the path
        raise ItemFailure(FailureKind.OBJECT_MISSING, f"{uri!r}: {error}") from error


def room_to_unpack(size: int = 1 << 20) -> None:
    """Write `size` bytes to the temporary folder and remove them. Raises OSError."""
    with tempfile.TemporaryFile() as file:
        file.write(bytes(size))
        file.flush()


def temporary_folder() -> str:
    """Where archives are unpacked, for messages."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # not one of the usual folders can be written
        return os.environ.get("TMPDIR", "/tmp")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that replaces `path` if the block ends without an error; else it is deleted.

    It is written to a temporary name, flushed to disk and renamed. A reader sees the old file or
    the whole new file, also after a power failure. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to disk: without it a rename can be lost in a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
