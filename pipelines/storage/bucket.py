"""What every object store behind `Storage` can do: one interface for S3, Google Cloud and Azure."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import IO, Protocol

from pipelines.storage.cloud.client import Cloud
from pipelines.storage.objects import Entry, Status, StorageSettings, Stored
from pipelines.storage.s3 import S3


class Bucket(Protocol):
    """Objects of one kind of store. Thread-safe; connects at the first call.

    Every method retries transient failures and raises ItemFailure: TransientFailure,
    CredentialsRefused, BucketMissing, Conflict, or another one with the kind OBJECT_MISSING,
    OBJECT_CHANGED, PERMISSION_DENIED, EMPTY_FILE, TOO_MANY_BYTES or STORAGE_ERROR.
    """

    @property
    def never(self) -> str:
        """A version that no object has: the store must refuse a write that replaces it."""

    def get(
        self,
        uri: str,
        *,
        max_bytes: int,
        etag: str | None = None,
        span: tuple[int, int] | None = None,
    ) -> bytes:
        """The object, or its bytes in `span` [start, end)."""

    def download(self, uri: str, file: IO[bytes], *, max_bytes: int, etag: str | None) -> None:
        """Copy the object into `file`, which is rewound. Raises OSError of the file as well."""

    def stored(self, uri: str) -> Stored:
        """A small object, with its version for a conditional write."""

    def stat(self, uri: str) -> Entry:
        """Etag and size."""

    def status(self, uri: str) -> Status:
        """Etag, size and time."""

    def list(self, prefix: str, *, recursive: bool = True) -> Iterator[Entry]:
        """Objects whose URI starts with `prefix`, in key order, 1,000 per request."""

    def listed(self, prefix: str, *, recursive: bool = True) -> Iterator[Status]:
        """The same, with the time of each object."""

    def put(
        self, uri: str, body: bytes | IO[bytes], *, replaces: str | None = None, new: bool = False
    ) -> str:
        """Write the object atomically. Returns its version.

        Args:
            uri: target.
            body: the content; a file is read from its start at each attempt.
            replaces: the version to replace; Conflict if it is another one.
            new: Conflict if the object exists already.
        """

    def copy(self, uri: str, target: str) -> None:
        """Copy an object inside the store, atomically."""

    def delete(self, uri: str) -> None:
        """Remove the object if it exists."""

    def reach(self, uri: str) -> None:
        """Check that the store of `uri` answers, with few attempts."""


def connected(uri: str, settings: StorageSettings) -> Bucket:
    """The client for the store of `uri`: one for each scheme and distinct settings."""
    return _kept(uri.partition("://")[0], settings)


def client_of(uri: str, settings: StorageSettings) -> Bucket:
    """A new client for the store of `uri`."""
    scheme = uri.partition("://")[0]
    return S3(settings) if scheme == "s3" else Cloud(scheme, settings)


@functools.cache
def _kept(scheme: str, settings: StorageSettings) -> Bucket:
    return client_of(f"{scheme}://", settings)
