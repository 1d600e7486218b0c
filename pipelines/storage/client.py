"""One client for local files, objects in buckets, and members of archives in both."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeVar

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import OutputUnwritable
from pipelines.storage.archives.archive import Archive, ZipArchive, is_zip, open_tar
from pipelines.storage.bucket import Bucket, client_of
from pipelines.storage.local import LocalFiles, no_answer, replacing, temporary_folder
from pipelines.storage.objects import (
    SCHEMES,
    Entry,
    NoRoomToUnpack,
    StorageSettings,
    TransientFailure,
    check_etag,
    check_size,
    is_bucket,
    local_path,
    names_attachments,
    split_member,
)
from pipelines.storage.remote_file import RemoteFile

__all__ = ["Entry", "Storage", "StorageSettings"]

T = TypeVar("T")

#: Bytes per request when a zip is read from a bucket in place: covers most scans with their header.
_ZIP_READ_AHEAD = 256 << 10

#: Two, because threads read from both archives where rows pass from one to the next.
_OPEN_ARCHIVES = 2

_UNWRITABLE = {
    errno.ENOSPC: "free space there, then start the same command again; written rows are kept",
    errno.EDQUOT: "raise the quota, then start the same command again; written rows are kept",
    errno.EACCES: "make it writable for this user, or choose another folder",
    errno.EPERM: "make it writable for this user, or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
}


class Storage:
    """Thread-safe. Connects at the first call. Cannot be pickled: make one in each worker."""

    def __init__(self, settings: StorageSettings | None = None) -> None:
        self.settings = settings or StorageSettings()
        self.local = LocalFiles(self.settings)
        self._lock = threading.Lock()
        self._buckets = {scheme: client_of(scheme, self.settings) for scheme in SCHEMES}
        self._open: dict[tuple[str, str], Archive] = {}  # (URI, etag), oldest first

    def read(self, uri: str, *, max_bytes: int, etag: str | None = None) -> bytes:
        """The object or archive member. `etag`: the required version (of the archive).

        Raises ItemFailure: OBJECT_MISSING, OBJECT_CHANGED, PERMISSION_DENIED, STORAGE_ERROR,
        EMPTY_FILE, TOO_MANY_BYTES, TOO_MANY_MEMBERS, UNSUPPORTED_KIND (folder, device),
        CORRUPT_ARCHIVE.
        """
        return self._of_either(
            uri,
            lambda: self._backend(uri).get(uri, max_bytes=max_bytes, etag=etag),
            lambda archive, member: self._member(archive, member, max_bytes, etag),
        )

    def _member(self, archive_uri: str, member: str, max_bytes: int, etag: str | None) -> bytes:
        archive = self._archive(archive_uri, etag)
        if member:
            with self._reading(archive):
                return archive.read(member, max_bytes)
        why = archive.damage or "planning could not list this archive; plan again (--new)"
        # The manifest has the row `x.zip!/` for the part of an archive that could not be listed.
        raise ItemFailure(FailureKind.CORRUPT_ARCHIVE, f"{archive_uri}: {why}")

    def read_head(self, uri: str, size: int) -> bytes:
        """The first `size` bytes, or all bytes of a smaller object. Raises ItemFailure."""

        def of_member(archive_uri: str, member: str) -> bytes:
            archive = self._archive(archive_uri, None)
            with self._reading(archive):
                return archive.read_head(member, size)

        whole = self._backend(uri)
        return self._of_either(
            uri, lambda: whole.get(uri, max_bytes=size, span=(0, size)), of_member
        )

    def reach(self, uri: str) -> None:
        """Look whether the place of `uri` answers: its bucket, or its folder.

        Raises ItemFailure if it does not answer, refuses the credentials, or is gone. Every backend
        says so by `TransientFailure`, `CredentialsRefused`, or OBJECT_MISSING.
        """
        self._backend(uri).reach(split_member(uri)[0])

    def stat(self, uri: str) -> Entry:
        """Version and size; of a member: the archive's version, its declared size."""

        def of_member(archive_uri: str, member: str) -> Entry:
            etag = self._backend(archive_uri).stat(archive_uri).etag
            return Entry(uri, etag, self._archive(archive_uri, etag).size(member))

        return self._of_either(uri, lambda: self._backend(uri).stat(uri), of_member)

    def _of_either(
        self, uri: str, of_object: Callable[[], T], of_member: Callable[[str, str], T]
    ) -> T:
        """Read an object or a member of an archive.

        The key of an object may really have `x.zip!/` in it, because these URIs are not
        percent-encoded. So where no archive has this member, the object is tried.
        """
        archive, member = split_member(uri)
        if member is None:
            return of_object()
        try:
            return of_member(archive, member)
        except ItemFailure as fault:
            maybe = fault.kind in (FailureKind.OBJECT_MISSING, FailureKind.OBJECT_CHANGED)
            if not is_bucket(uri) or not maybe:
                raise
            try:
                return of_object()
            except ItemFailure as other:
                missing = other.kind is FailureKind.OBJECT_MISSING
                raise (fault if missing else other) from None

    def open_archive(self, uri: str, etag: str | None = None) -> Archive:
        """The archive at `uri`. A zip is read in place; a tar in a bucket is copied first.

        `read` of a member opens the archive itself: to read many members, use the returned object.
        Raises ItemFailure.
        """
        try:
            if is_bucket(uri):
                return self._open_archive_of_bucket(uri, etag)
            with ExitStack() as files:
                file = files.enter_context(self.local.open(uri, etag))
                head = file.read(4)
                check_size(uri, len(head), len(head))
                most, encoding = self.settings.max_archive_members, self.settings.member_names
                if is_zip(head):
                    return ZipArchive(uri, file, files.pop_all(), most, encoding)
                return open_tar(uri, file, files, self.settings.max_archive_bytes, most, encoding)
        except OSError as error:
            if no_answer(error):
                raise TransientFailure(f"{uri}: {error.strerror}") from error
            # From the temporary file: usually no space.
            where = temporary_folder()
            raise NoRoomToUnpack(f"{uri} cannot be unpacked in {where}: {error}") from error

    def _open_archive_of_bucket(self, uri: str, etag: str | None) -> Archive:
        bucket, most = self.bucket(uri), self.settings.max_archive_members
        encoding = self.settings.member_names
        entry = bucket.stat(uri)
        check_etag(uri, entry.etag, etag)
        if is_zip(bucket.get(uri, max_bytes=4, span=(0, 4))):
            raw = RemoteFile(bucket, entry)
            buffered = io.BufferedReader(raw, _ZIP_READ_AHEAD)
            return ZipArchive(uri, buffered, ExitStack(), most, encoding)
        limit = self.settings.max_archive_bytes
        with ExitStack() as files:
            file = files.enter_context(tempfile.TemporaryFile())
            bucket.download(uri, file, max_bytes=limit, etag=entry.etag)
            return open_tar(uri, file, files, limit, most, encoding)

    @contextmanager
    def _reading(self, archive: Archive) -> Iterator[None]:
        """Let go of an archive whose file fails, so that the next read opens it again."""
        try:
            yield
        except (OSError, TransientFailure) as error:
            with self._lock:
                for key in [key for key, held in self._open.items() if held is archive]:
                    del self._open[key]
            if no_answer(error):
                raise TransientFailure(f"{archive.uri}: {error}") from error
            raise

    def _archive(self, uri: str, etag: str | None) -> Archive:
        """The open archive. It stays open, because rows of one archive follow each other."""
        if names_attachments(uri):
            raise ItemFailure(
                FailureKind.OBJECT_MISSING, f"{uri} is no archive, but a PDF with attached files"
            )
        key = (uri, etag or self._backend(uri).stat(uri).etag)
        with self._lock:  # two threads must not unpack the same archive
            if key not in self._open:
                while len(self._open) >= _OPEN_ARCHIVES:  # frees disk before the next needs it
                    self._open.pop(next(iter(self._open)))
                self._open[key] = self.open_archive(*key)
            return self._open[key]

    def bucket(self, uri: str) -> Bucket:
        """The client for the store of an object."""
        return self._buckets[uri[: uri.index("://") + 3]]

    def _backend(self, uri: str) -> Bucket | LocalFiles:
        return self.bucket(uri) if is_bucket(uri) else self.local

    @contextmanager
    def open_output(self, uri: str) -> Iterator[IO[bytes]]:
        """A binary file. It appears at `uri` as a whole if the block ends without an error.

        Creates missing folders. Raises OutputUnwritable.
        """
        with _output_errors(uri):
            if not is_bucket(uri):
                with replacing(_path(uri)) as file:
                    yield file
                return
            with tempfile.TemporaryFile() as spool:
                yield spool
                spool.seek(0)
                self.bucket(uri).put(uri, spool)

    def write_bytes(self, uri: str, data: bytes | memoryview) -> None:
        """Write or replace an object atomically. Raises OutputUnwritable."""
        with self.open_output(uri) as file:
            file.write(data)

    def exists(self, uri: str) -> bool:
        """Whether the object exists. Raises ItemFailure if the store does not say."""
        try:
            self._backend(uri).stat(uri)
        except ItemFailure as fault:
            if fault.kind is FailureKind.OBJECT_MISSING:
                return False
            raise
        return True

    def list_names(self, folder: str) -> list[str]:
        """Sorted names of the objects directly in `folder`; empty if the folder is missing."""
        if is_bucket(folder):
            prefix = folder.rstrip("/") + "/"
            found = self.bucket(folder).list(prefix, recursive=False)
            return [entry.uri.removeprefix(prefix) for entry in found]
        with _output_errors(folder):
            try:
                with os.scandir(_path(folder)) as entries:
                    return sorted(entry.name for entry in entries if entry.is_file())
            except FileNotFoundError:
                return []

    def delete(self, uri: str) -> None:
        """Remove an object if it exists. Raises OutputUnwritable."""
        with _output_errors(uri):
            if is_bucket(uri):
                self.bucket(uri).delete(uri)
            else:
                _path(uri).unlink(missing_ok=True)


def _path(uri: str) -> Path:
    return Path(os.fsdecode(local_path(uri)))


@contextmanager
def _output_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = _UNWRITABLE.get(error.errno or 0, "check its file system")
        reason = error.strerror or str(error)
        raise OutputUnwritable(f"cannot write {uri}: {reason}", remedy) from error
    except ItemFailure as fault:
        raise OutputUnwritable(
            f"cannot write: {fault.message}",
            "check bucket, endpoint and credentials, then start the same command again",
        ) from fault
