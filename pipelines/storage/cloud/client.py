"""Objects in Google Cloud Storage (``gs://``) and Azure Blob Storage (``az://``), by obstore.

Retries are ours, as for S3: obstore's own do not renew credentials between attempts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, TypeVar

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.cloud.errors import failures_of
from pipelines.storage.cloud.stores import Store, azure_store, google_store
from pipelines.storage.objects import (
    BucketMissing,
    CredentialsRefused,
    Entry,
    Status,
    StorageSettings,
    Stored,
    TransientFailure,
    check_etag,
    check_size,
    retried,
    split_bucket,
)

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta, PutMode

T = TypeVar("T")

#: Attempts of `reach`, as for S3.
_FIRST_TRIES = 3
_PAGE = 1_000  #: objects per request of a listing
_CHUNK = 1 << 20
#: Larger files are sent in parts, so that they need not fit into memory.
_ONE_REQUEST = 32 << 20
_MOST_BYTES = 5_000 << 20  #: Azure's limit for one request


class Cloud:
    """The stores of one scheme, ``gs`` or ``az``. A `Bucket`: see there."""

    def __init__(self, scheme: str, settings: StorageSettings) -> None:
        self._scheme = scheme
        self._settings = settings
        self._lock = threading.Lock()
        self._made: dict[str, Store] = {}  # by bucket

    @property
    def never(self) -> str:
        """A version that no object has. A generation is a number of microseconds since 1970."""
        return "1" if self._scheme == "gs" else "0" * 32

    def get(
        self,
        uri: str,
        *,
        max_bytes: int,
        etag: str | None = None,
        span: tuple[int, int] | None = None,
    ) -> bytes:
        """The object, or its bytes in `span` [start, end)."""

        def attempt() -> bytes:
            with failures_of(uri):
                reply = self._opened(uri, etag, span)
                size = reply.range[1] - reply.range[0]
                check_size(uri, size, max_bytes)
                data = bytes(reply.bytes())
            return _whole(uri, data, size)

        return self._retried(attempt)

    def download(self, uri: str, file: IO[bytes], *, max_bytes: int, etag: str | None) -> None:
        """Copy the object into `file`, which is rewound. Raises OSError of the file as well."""

        def attempt() -> None:
            file.seek(0)
            file.truncate()
            with failures_of(uri):
                reply = self._opened(uri, etag, None)
                check_size(uri, reply.meta["size"], max_bytes)
                for chunk in reply.stream(_CHUNK):
                    file.write(chunk)
            if file.tell() != reply.meta["size"]:
                raise TransientFailure(f"{uri}: the transfer ended after {file.tell():,} bytes")

        self._retried(attempt)
        file.seek(0)

    def stored(self, uri: str) -> Stored:
        """A small object, with its version for a conditional write."""

        def attempt() -> Stored:
            with failures_of(uri):
                reply = self._opened(uri, None, None)
                data = bytes(reply.bytes())
                return Stored(_whole(uri, data, reply.meta["size"]), self._version(reply.meta), 0.0)

        return self._retried(attempt)

    def stat(self, uri: str) -> Entry:
        """Etag and size by a HEAD request."""
        return Entry(*self.status(uri)[:3])

    def status(self, uri: str) -> Status:
        """Etag, size and time by a HEAD request."""

        def attempt() -> Status:
            bucket, key = split_bucket(uri)
            with failures_of(uri):
                return _status(uri, self._store(bucket).head(key))

        return self._retried(attempt)

    def list(self, prefix: str, *, recursive: bool = True) -> Iterator[Entry]:
        """Objects whose URI starts with `prefix`, in key order, 1,000 per request."""
        for found in self.listed(prefix, recursive=recursive):
            yield Entry(*found[:3])

    def listed(self, prefix: str, *, recursive: bool = True) -> Iterator[Status]:
        """The same, with the time of each object."""
        bucket, key = split_bucket(prefix)
        pages = self._tree(prefix) if recursive else self._folder(prefix)
        for page in pages:
            for found in page:
                if found["path"].startswith(key):
                    uri = f"{self._scheme}://{bucket}/{found['path']}"
                    if found["size"] or self._exists(uri):
                        yield _status(uri, found)
                elif self._scheme == "gs" and found["path"] > key:  # behind the prefix
                    return  # Azure's order is another one if the account has real folders

    def _tree(self, prefix: str) -> Iterator[Sequence[ObjectMeta]]:
        """Pages of a folder at any depth. obstore lists only whole folders."""
        bucket, key = split_bucket(prefix)
        stream: Any = None
        pages, last = 0, ""

        def page() -> Sequence[ObjectMeta] | None:
            nonlocal stream
            with failures_of(prefix):
                try:
                    if stream is None:
                        stream = self._behind(bucket, key.rpartition("/")[0], pages, last)
                    return next(stream, None)
                except BaseException:
                    stream = None
                    raise

        while found := self._retried(page):
            yield found
            pages, last = pages + 1, found[-1]["path"]

    def _behind(self, bucket: str, folder: str, pages: int, last: str) -> Any:
        """A listing behind so many pages, of which the last ends with `last`.

        It starts from the beginning: not every store of Azure can start elsewhere.
        """
        stream = self._store(bucket).list(folder, chunk_size=_PAGE)
        for _ in range(pages):
            again = next(stream, None)
        if pages and (not again or again[-1]["path"] != last):
            where = f"{self._scheme}://{bucket}/{folder}"
            message = f"{where}: its objects changed while it was listed; start again"
            raise ItemFailure(FailureKind.STORAGE_ERROR, message)
        return stream

    def _folder(self, prefix: str) -> Iterator[Sequence[ObjectMeta]]:
        """The objects directly in a folder, as one page."""
        bucket, key = split_bucket(prefix)

        def attempt() -> Sequence[ObjectMeta]:
            with failures_of(prefix):
                found = self._store(bucket).list_with_delimiter(key.rpartition("/")[0])
                return found["objects"]

        yield self._retried(attempt)

    def _exists(self, uri: str) -> bool:
        """False for the marker of a folder: ``a/`` is listed as ``a``, which does not exist."""
        try:
            self.status(uri)
        except ItemFailure as fault:
            return fault.kind is not FailureKind.OBJECT_MISSING
        return True

    def put(
        self, uri: str, body: bytes | IO[bytes], *, replaces: str | None = None, new: bool = False
    ) -> str:
        """Write the object atomically. Returns its version. See `Bucket.put`."""
        bucket, key = split_bucket(uri)
        mode: PutMode = "create" if new else "overwrite"
        if replaces is not None:
            is_google = self._scheme == "gs"
            mode = {"version": replaces} if is_google else {"e_tag": f'"{replaces}"'}
        parts = mode == "overwrite" and _size(body) > _ONE_REQUEST

        def attempt() -> str:
            if not isinstance(body, bytes):
                body.seek(0)
            with failures_of(uri):
                store = self._store(bucket)
                return self._version(store.put(key, body, mode=mode, use_multipart=parts))

        return self._retried(attempt)

    def copy(self, uri: str, target: str) -> None:
        """Copy an object inside the store, atomically.

        Azure answers a copy before it ends, and obstore does not wait for the end. There the object
        is read and written.
        """
        if self._scheme == "az":
            self.put(target, self.get(uri, max_bytes=_MOST_BYTES))
            return
        (bucket, key), (_, copy) = split_bucket(uri), split_bucket(target)

        def attempt() -> None:
            with failures_of(uri):
                self._store(bucket).copy(key, copy)

        self._retried(attempt)

    def delete(self, uri: str) -> None:
        """Remove the object if it exists."""
        bucket, key = split_bucket(uri)

        def attempt() -> None:
            with failures_of(uri):
                self._store(bucket).delete(key)

        try:
            self._retried(attempt)
        except BucketMissing:
            raise
        except ItemFailure as fault:
            if fault.kind is not FailureKind.OBJECT_MISSING:
                raise

    def reach(self, uri: str) -> None:
        """Check that the store of `uri` answers, with few attempts.

        Raises ItemFailure only for an outage, refused credentials and a missing bucket. A user
        without permission to list may still have permission to read.
        """
        bucket, key = split_bucket(uri)

        def attempt() -> None:
            with failures_of(uri):
                next(self._store(bucket).list(key.rpartition("/")[0], chunk_size=1), None)

        try:
            self._retried(attempt, min(_FIRST_TRIES, self._settings.max_attempts))
        except ItemFailure as fault:
            if fault.kind is not FailureKind.PERMISSION_DENIED or isinstance(
                fault, CredentialsRefused
            ):
                raise

    def _opened(self, uri: str, etag: str | None, span: tuple[int, int] | None) -> GetResult:
        bucket, key = split_bucket(uri)
        reply = self._store(bucket).get(key, options={"range": span} if span else None)
        check_etag(uri, _etag(reply.meta), etag)
        return reply

    def _version(self, meta: Any) -> str:
        """The version for a conditional write. `meta`: an object's, or the answer to a put."""
        return str(meta["version"]) if self._scheme == "gs" else _etag(meta)

    def _retried(self, attempt: Callable[[], T], tries: int | None = None) -> T:
        """`attempt()` with retries; refused credentials: all of them again with fresh ones."""
        tries = tries or self._settings.max_attempts
        try:
            return retried(tries, attempt)
        except CredentialsRefused:
            with self._lock:
                self._made.clear()
            return retried(tries, attempt)

    def _store(self, bucket: str) -> Store:
        with self._lock:
            if bucket not in self._made:
                make = google_store if self._scheme == "gs" else azure_store
                self._made[bucket] = make(bucket, self._settings)
            return self._made[bucket]


def _whole(uri: str, data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise TransientFailure(f"{uri}: the transfer ended after {len(data):,} bytes")
    return data


def _status(uri: str, meta: ObjectMeta) -> Status:
    return Status(uri, _etag(meta), meta["size"], meta["last_modified"].timestamp())


def _etag(meta: Any) -> str:
    return (meta["e_tag"] or "").strip('"')


def _size(body: bytes | IO[bytes]) -> int:
    return len(body) if isinstance(body, bytes) else body.seek(0, 2)
