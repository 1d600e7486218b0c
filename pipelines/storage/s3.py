"""Objects in S3 and in S3-compatible stores.

Why boto3 and not pyarrow.fs: list_objects_v2 streams name, etag and size, 1,000 objects a request;
pyarrow.fs.get_file_info loads the whole listing and has no etag. boto's errors keep the service's
error code, which decides the failure kind. boto's own retries are off, because they do not cover
the body of a reply, where long transfers break.
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
from typing import IO, Any, TypeVar

import boto3.session
import botocore.exceptions as boto_errors
import urllib3.exceptions
from botocore import UNSIGNED
from botocore.config import Config

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.objects import (
    BucketMissing,
    Conflict,
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

T = TypeVar("T")

#: Attempts of `reach`. A wrong address is more likely than an outage there, and the user should
#: not wait a minute for the message.
_FIRST_TRIES = 3
#: Error codes of a failed condition: the object is not the version that the caller expects.
_CONFLICTS = {"PreconditionFailed"}

#: Open connections per process: more than the threads of planning or of a fetch worker.
_CONNECTIONS = 64

#: Errors about who asks, not about what is asked for. A HEAD with an expired token has only the
#: code "400", because its reply has no body.
_CREDENTIAL_CODES = {
    *("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "400"),
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"),
    *("AccountProblem", "AllAccessDisabled", "NotSignedUp", "InvalidSecurity"),
    *("InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "OptInRequired"),
}
_BUSY_CODES = {
    "SlowDown",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "Throttling",
    "ThrottlingException",
    "InternalError",
    "BadDigest",  # the body was damaged in transfer
    "ConditionalRequestConflict",  # two conditional writes at once: one must retry
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


class S3:
    """Thread-safe. Connects at the first call. Every method raises ItemFailure."""

    never = "0" * 32

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
        """The object, or its bytes in `span` [start, end)."""
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
                raise TransientFailure(f"{uri}: the transfer ended after {file.tell():,} bytes")

        self._retried(attempt)
        file.seek(0)

    def stored(self, uri: str) -> Stored:
        """A small object, with the etag for a conditional write."""

        def attempt() -> Stored:
            with self._opened(uri, None, None) as reply:
                headers = reply["ResponseMetadata"]["HTTPHeaders"]
                now = headers.get("date")
                there = parsedate_to_datetime(now).timestamp() if now else time.time()
                age = max(0.0, there - reply["LastModified"].timestamp())
                return Stored(reply["Body"].read(), reply["ETag"].strip('"'), age)

        return self._retried(attempt)

    def reach(self, uri: str) -> None:
        """Check that the store of `uri` answers, with few attempts.

        Raises ItemFailure only for an outage and for refused credentials. A user without permission
        to list may still have permission to read.
        """
        bucket, key = split_bucket(uri)
        request = {"Bucket": bucket, "Prefix": key, "MaxKeys": 1}
        tries = min(_FIRST_TRIES, self._settings.max_attempts)
        try:
            self._call(uri, "list_objects_v2", tries, **request)
        except ItemFailure as fault:
            if fault.kind is FailureKind.STORAGE_ERROR or isinstance(fault, CredentialsRefused):
                raise

    def stat(self, uri: str) -> Entry:
        """Etag and size by a HEAD request."""
        return Entry(*self.status(uri)[:3])

    def status(self, uri: str) -> Status:
        """Etag, size and time by a HEAD request."""
        bucket, key = split_bucket(uri)
        reply = self._call(uri, "head_object", Bucket=bucket, Key=key)
        etag, written = reply["ETag"].strip('"'), reply["LastModified"].timestamp()
        return Status(uri, etag, reply["ContentLength"], written)

    def list(self, prefix: str, *, recursive: bool = True) -> Iterator[Entry]:
        """Objects whose URI starts with `prefix`, in key order, 1,000 per request."""
        for found in self.listed(prefix, recursive=recursive):
            yield Entry(*found[:3])

    def listed(self, prefix: str, *, recursive: bool = True) -> Iterator[Status]:
        """The same, with the time of each object."""
        bucket, key = split_bucket(prefix)
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
        """Write the object atomically in one request. Returns its etag.

        The store checks the body against its MD5: a body damaged in transfer is sent again.

        Args:
            uri: target.
            body: the content; a file is read from its start at each attempt.
            replaces: etag of the version to replace; Conflict if it is another one.
            new: Conflict if the object exists already.
        """
        bucket, key = split_bucket(uri)
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
        """Copy an object inside the store, atomically (at most 5 GB)."""
        source_bucket, source_key = split_bucket(uri)
        bucket, key = split_bucket(target)
        source = {"Bucket": source_bucket, "Key": source_key}
        self._call(uri, "copy_object", Bucket=bucket, Key=key, CopySource=source)

    def delete(self, uri: str) -> None:
        """Remove the object if it exists."""
        bucket, key = split_bucket(uri)
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
        """`attempt()` with retries; refused credentials: all of them again with fresh ones.

        boto renews the credentials of a role itself. A session reads the credentials of a file or
        of a container's environment only once, so a new session is made here.
        """
        tries = tries or self._settings.max_attempts
        try:
            return retried(tries, attempt)
        except CredentialsRefused:
            with self._lock:
                self._made = None
            return retried(tries, attempt)

    @contextmanager
    def _opened(
        self, uri: str, etag: str | None, span: tuple[int, int] | None
    ) -> Iterator[dict[str, Any]]:
        bucket, key = split_bucket(uri)
        ranged = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        with _failures_of(uri):
            reply = self._client().get_object(Bucket=bucket, Key=key, **ranged)
            with closing(reply["Body"]):
                check_etag(uri, reply["ETag"].strip('"'), etag)
                yield reply

    def _client(self) -> Any:
        with self._lock:  # boto clients are thread-safe, their creation is not
            if self._made is None:
                self._made = _client(self._settings)
            return self._made


def _digest(file: IO[bytes]) -> str:
    """MD5 of a whole file, encoded for the header Content-MD5."""
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
        request_checksum_calculation="when_required",  # some stores refuse trailing checksums
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
        raise CredentialsRefused(f"{uri}: {error}") from error
    except boto_errors.SSLError as error:  # a retry cannot fix a wrong certificate
        raise ItemFailure(FailureKind.STORAGE_ERROR, f"{uri}: {error}") from error
    except _BROKEN_TRANSFER as error:
        raise TransientFailure(f"{uri}: {error}") from error
    except boto_errors.BotoCoreError as error:
        raise ItemFailure(FailureKind.STORAGE_ERROR, f"{uri}: {error}") from error


def _refused(uri: str, error: Any) -> ItemFailure:
    """The failure for an error reply of the service. `error`: a ClientError."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = f"{uri}: {error}"
    if status == 501:  # not implemented by this store: a retry cannot help
        return ItemFailure(FailureKind.STORAGE_ERROR, message)
    if status >= 500 or status == 429 or code in _BUSY_CODES:
        return TransientFailure(message)
    if status == 412 or code in _CONFLICTS:
        return Conflict(message)
    if code in _CREDENTIAL_CODES:
        return CredentialsRefused(message)
    if code == "NoSuchBucket":
        return BucketMissing(message)
    if status == 403:
        return ItemFailure(FailureKind.PERMISSION_DENIED, message)
    if status == 404:
        return ItemFailure(FailureKind.OBJECT_MISSING, message)
    if status == 416:  # a range that starts at 0 fails only for an empty object
        return ItemFailure(FailureKind.EMPTY_FILE, message)
    return ItemFailure(FailureKind.STORAGE_ERROR, message)
