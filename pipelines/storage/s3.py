"""Objects in S3 and its lookalikes.

boto3, not pyarrow.fs: list_objects_v2 gives name, etag and size, 1,000 at a time, while
pyarrow.fs.get_file_info materialises a whole prefix and knows no etag; and boto's errors keep the
code of the service, which is what the failure kinds are made of. boto's own retries are off:
they do not cover the body of a reply, where the long transfers break.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from typing import IO, Any, NamedTuple, TypeVar

import boto3.session
import botocore.exceptions as boto_errors
import urllib3.exceptions
from botocore import UNSIGNED
from botocore.config import Config

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.objects import (
    Entry,
    StorageSettings,
    TransientFailure,
    check_etag,
    check_size,
    retried,
    split_s3,
)

T = TypeVar("T")

#: Tries before a store that this process has not asked before is called unreachable: a wrong
#: address is more likely then than an outage, and a minute of silence is a long answer to it.
_FIRST_TRIES = 3
#: Refusals of a condition: what is there is not what the caller thinks.
_CONFLICTS = {"PreconditionFailed"}

#: Connections kept open per process: more than the threads of a probe or a fetch worker.
_CONNECTIONS = 64

#: "400" is all that a HEAD says of an expired token: its reply has no body.
_EXPIRED_CODES = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "400"}
_DENIED_CODES = {"InvalidAccessKeyId", "SignatureDoesNotMatch"}
_BUSY_CODES = {
    "SlowDown",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "Throttling",
    "ThrottlingException",
    "InternalError",
    "BadDigest",  # the body was damaged on its way
    "ConditionalRequestConflict",  # two conditional writes at once: one of them has to ask again
    "OperationAborted",
}

_NO_CREDENTIALS = (
    boto_errors.NoCredentialsError,
    boto_errors.PartialCredentialsError,
    boto_errors.CredentialRetrievalError,
    boto_errors.TokenRetrievalError,
    boto_errors.SSOError,
)
_BROKEN_TRANSFER = (
    boto_errors.ConnectionError,
    boto_errors.HTTPClientError,
    boto_errors.IncompleteReadError,
    boto_errors.FlexibleChecksumError,
    urllib3.exceptions.HTTPError,
)


class Conflict(ItemFailure):
    """OBJECT_CHANGED: a conditional write found another object than it was meant for."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.OBJECT_CHANGED, message)


class Expired(ItemFailure):
    """PERMISSION_DENIED that fresh credentials may mend."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.PERMISSION_DENIED, message)


class Stored(NamedTuple):
    """A small object, its version, and seconds since it was written, by the store's own clock."""

    data: bytes
    etag: str
    age_s: float


class Status(NamedTuple):
    """What a listing or a HEAD says of an object; `modified` in seconds since the epoch."""

    uri: str
    etag: str
    bytes: int
    modified: float


class S3:
    """Thread-safe. Every method raises ItemFailure; connects at the first call."""

    def __init__(self, settings: StorageSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._made: Any = None

    def get(
        self,
        uri: str,
        *,
        max_bytes: int,
        etag: str | None = None,
        span: tuple[int, int] | None = None,
    ) -> bytes:
        """The object, or its bytes [start, end) of `span`."""
        return self._retried(lambda: self._get(uri, max_bytes, etag, span))

    def _get(
        self, uri: str, max_bytes: int, etag: str | None, span: tuple[int, int] | None
    ) -> bytes:
        with self._opened(uri, etag, span) as reply:
            check_size(uri, reply["ContentLength"], max_bytes)
            data: bytes = reply["Body"].read()
            return data

    def download(self, uri: str, file: IO[bytes], *, max_bytes: int, etag: str | None) -> None:
        """Copy the object into `file`, which is rewound."""

        def attempt() -> None:
            file.seek(0)
            file.truncate()
            with self._opened(uri, etag, None) as reply:
                check_size(uri, reply["ContentLength"], max_bytes)
                shutil.copyfileobj(reply["Body"], file, 1 << 20)
            if file.tell() != reply["ContentLength"]:
                raise TransientFailure(f"{uri} broke off after {file.tell():,} bytes")

        self._retried(attempt)
        file.seek(0)

    def stored(self, uri: str) -> Stored:
        """A small object with what a conditional write needs to know of it."""

        def attempt() -> Stored:
            with self._opened(uri, None, None) as reply:
                headers = reply["ResponseMetadata"]["HTTPHeaders"]
                now = headers.get("date")
                there = parsedate_to_datetime(now).timestamp() if now else time.time()
                age = max(0.0, there - reply["LastModified"].timestamp())
                return Stored(reply["Body"].read(), reply["ETag"].strip('"'), age)

        return self._retried(attempt)

    def reach(self, uri: str) -> None:
        """Ask for anything at all below `uri`. Raises ItemFailure, after a few tries only.

        Only an outage and expired credentials are failures here: whoever may not list may still
        read.
        """
        bucket, key = split_s3(uri)
        request = {"Bucket": bucket, "Prefix": key, "MaxKeys": 1}
        tries = min(_FIRST_TRIES, self._settings.max_attempts)
        try:
            self._call(uri, "list_objects_v2", tries, **request)
        except ItemFailure as fault:
            if fault.kind is FailureKind.STORAGE_ERROR or isinstance(fault, Expired):
                raise

    def stat(self, uri: str) -> Entry:
        """Etag and size by a HEAD request."""
        return Entry(*self.status(uri)[:3])

    def status(self, uri: str) -> Status:
        """The same, and when it was written."""
        bucket, key = split_s3(uri)
        reply = self._call(uri, "head_object", Bucket=bucket, Key=key)
        etag, written = reply["ETag"].strip('"'), reply["LastModified"].timestamp()
        return Status(uri, etag, reply["ContentLength"], written)

    def list(self, prefix: str, *, recursive: bool = True) -> Iterator[Entry]:
        """Objects whose URI starts with `prefix`, in key order, 1,000 per request."""
        for found in self.listed(prefix, recursive=recursive):
            yield Entry(*found[:3])

    def listed(self, prefix: str, *, recursive: bool = True) -> Iterator[Status]:
        """The same, and when each was written."""
        bucket, key = split_s3(prefix)
        request: dict[str, Any] = {"Bucket": bucket, "Prefix": key}
        request |= {} if recursive else {"Delimiter": "/"}
        while True:
            reply = self._call(prefix, "list_objects_v2", **request)
            for found in reply.get("Contents", ()):
                uri, etag = f"s3://{bucket}/{found['Key']}", found["ETag"].strip('"')
                yield Status(uri, etag, found["Size"], found["LastModified"].timestamp())
            if not reply.get("IsTruncated"):
                return
            request["ContinuationToken"] = reply["NextContinuationToken"]

    def put(
        self, uri: str, body: bytes | IO[bytes], *, replaces: str | None = None, new: bool = False
    ) -> str:
        """Write the object in one request: it appears whole or not at all. Returns its etag.

        The store compares the body with a digest of it, so that what is damaged on the way is
        refused there and sent again.

        Args:
            uri: where to.
            body: all of it; a file is read from its start, for every try.
            replaces: etag of the version that must be there; Conflict otherwise.
            new: Conflict if there is anything already.
        """
        bucket, key = split_s3(uri)
        file = io.BytesIO(body) if isinstance(body, bytes) else body
        request = {"ContentMD5": _digest(file)}
        request |= {"IfMatch": f'"{replaces}"'} if replaces else {}
        request |= {"IfNoneMatch": "*"} if new else {}

        def attempt() -> str:
            file.seek(0)
            with _failures_of(uri):
                reply = self._client().put_object(Bucket=bucket, Key=key, Body=file, **request)
                etag: str = reply["ETag"]
                return etag.strip('"')

        return self._retried(attempt)

    def copy(self, uri: str, target: str) -> None:
        """Copy an object inside the store (up to 5 GB): it appears whole or not at all."""
        source_bucket, source_key = split_s3(uri)
        bucket, key = split_s3(target)
        source = {"Bucket": source_bucket, "Key": source_key}
        self._call(uri, "copy_object", Bucket=bucket, Key=key, CopySource=source)

    def delete(self, uri: str) -> None:
        """Remove the object if it is there."""
        bucket, key = split_s3(uri)
        self._call(uri, "delete_object", Bucket=bucket, Key=key)

    def _call(
        self, uri: str, operation: str, tries: int | None = None, **request: Any
    ) -> dict[str, Any]:
        def attempt() -> dict[str, Any]:
            with _failures_of(uri):
                reply: dict[str, Any] = getattr(self._client(), operation)(**request)
                return reply

        return self._retried(attempt, tries)

    def _retried(self, attempt: Callable[[], T], tries: int | None = None) -> T:
        """`attempt()`, until it is through; once more from the start with fresh credentials.

        boto renews those of a role by itself. Those of a file or of the environment of a container
        are read once by a session, whoever may have renewed them since.
        """
        tries = tries or self._settings.max_attempts
        try:
            return retried(tries, attempt)
        except Expired:
            with self._lock:
                self._made = None
            return retried(tries, attempt)

    @contextmanager
    def _opened(
        self, uri: str, etag: str | None, span: tuple[int, int] | None
    ) -> Iterator[dict[str, Any]]:
        bucket, key = split_s3(uri)
        ranged = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        with _failures_of(uri):
            reply = self._client().get_object(Bucket=bucket, Key=key, **ranged)
            with closing(reply["Body"]):
                check_etag(uri, reply["ETag"].strip('"'), etag)
                yield reply

    def _client(self) -> Any:
        with self._lock:  # boto clients are thread-safe, making one is not
            if self._made is None:
                self._made = _client(self._settings)
            return self._made


def _digest(file: IO[bytes]) -> str:
    """MD5 of a file from its start, as the header Content-MD5 has it."""
    file.seek(0)
    digest = hashlib.md5(usedforsecurity=False)
    while piece := file.read(1 << 20):
        digest.update(piece)
    return base64.b64encode(digest.digest()).decode()


def _client(settings: StorageSettings) -> Any:
    config = Config(
        signature_version=UNSIGNED if settings.anonymous else None,
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": settings.addressing},
        request_checksum_calculation="when_required",  # many lookalikes refuse trailing checksums
    )
    return boto3.session.Session().client(
        "s3", region_name=settings.region, endpoint_url=settings.endpoint_url, config=config
    )


@contextmanager
def _failures_of(uri: str) -> Iterator[None]:
    """Turn boto's exceptions into ItemFailure with the right kind."""
    try:
        yield
    except boto_errors.ClientError as error:
        raise _refused(uri, error) from error
    except _NO_CREDENTIALS as error:
        raise ItemFailure(FailureKind.PERMISSION_DENIED, f"{uri}: {error}") from error
    except boto_errors.SSLError as error:  # a wrong certificate stays wrong
        raise ItemFailure(FailureKind.STORAGE_ERROR, f"{uri}: {error}") from error
    except _BROKEN_TRANSFER as error:
        raise TransientFailure(f"{uri}: {error}") from error
    except boto_errors.BotoCoreError as error:
        raise ItemFailure(FailureKind.STORAGE_ERROR, f"{uri}: {error}") from error


def _refused(uri: str, error: Any) -> ItemFailure:
    """What the service's answer means. `error`: a ClientError."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = f"{uri}: {error}"
    if status == 501:  # a request that this store will never understand
        return ItemFailure(FailureKind.STORAGE_ERROR, message)
    if status >= 500 or status == 429 or code in _BUSY_CODES:
        return TransientFailure(message)
    if status == 412 or code in _CONFLICTS:
        return Conflict(message)
    if code in _EXPIRED_CODES:
        return Expired(message)
    if status == 403 or code in _DENIED_CODES:
        return ItemFailure(FailureKind.PERMISSION_DENIED, message)
    if status == 404:
        return ItemFailure(FailureKind.OBJECT_MISSING, message)
    if status == 416:  # a range that starts at 0 is refused by an empty object only
        return ItemFailure(FailureKind.EMPTY_FILE, message)
    return ItemFailure(FailureKind.STORAGE_ERROR, message)
