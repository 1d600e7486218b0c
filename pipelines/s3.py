"""Objects in S3 and its lookalikes.

boto3, not pyarrow.fs: list_objects_v2 gives name, etag and size, 1,000 at a time, while
pyarrow.fs.get_file_info materialises a whole prefix and knows no etag; and boto's errors keep the
code of the service, which is what the failure kinds are made of. boto's own retries are off:
they do not cover the body of a reply, where the long transfers break.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, Any

import boto3.session
import botocore.exceptions as boto_errors
import urllib3.exceptions
from botocore import UNSIGNED
from botocore.config import Config

from actors.failures import FailureKind, ItemFailure
from pipelines.objects import (
    Entry,
    StorageSettings,
    TransientFailure,
    check_etag,
    check_size,
    retried,
    split_s3,
)

#: Connections kept open per process: more than the threads of a probe or a fetch worker.
_CONNECTIONS = 64

_DENIED_CODES = {"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_BUSY_CODES = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "InternalError"}

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
        return retried(self._settings.max_attempts, lambda: self._get(uri, max_bytes, etag, span))

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

        retried(self._settings.max_attempts, attempt)
        file.seek(0)

    def stat(self, uri: str) -> Entry:
        """Etag and size by a HEAD request."""
        bucket, key = split_s3(uri)
        reply = self._call(uri, "head_object", Bucket=bucket, Key=key)
        return Entry(uri, reply["ETag"].strip('"'), reply["ContentLength"])

    def list(self, prefix: str, *, recursive: bool = True) -> Iterator[Entry]:
        """Objects whose URI starts with `prefix`, in key order, 1,000 per request."""
        bucket, key = split_s3(prefix)
        request = {"Bucket": bucket, "Prefix": key} | ({} if recursive else {"Delimiter": "/"})
        while True:
            reply = self._call(prefix, "list_objects_v2", **request)
            for found in reply.get("Contents", ()):
                yield Entry(
                    f"s3://{bucket}/{found['Key']}", found["ETag"].strip('"'), found["Size"]
                )
            if not reply.get("IsTruncated"):
                return
            request["ContinuationToken"] = reply["NextContinuationToken"]

    def put(self, uri: str, body: bytes | IO[bytes]) -> None:
        """Write the object in one request: it appears whole or not at all."""
        bucket, key = split_s3(uri)
        self._call(uri, "put_object", Bucket=bucket, Key=key, Body=body)

    def delete(self, uri: str) -> None:
        """Remove the object if it is there."""
        bucket, key = split_s3(uri)
        self._call(uri, "delete_object", Bucket=bucket, Key=key)

    def _call(self, uri: str, operation: str, **request: Any) -> dict[str, Any]:
        def attempt() -> dict[str, Any]:
            with _failures_of(uri):
                reply: dict[str, Any] = getattr(self._client(), operation)(**request)
                return reply

        return retried(self._settings.max_attempts, attempt)

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
    if status >= 500 or status == 429 or code in _BUSY_CODES:
        return TransientFailure(message)
    if status == 403 or code in _DENIED_CODES:
        return ItemFailure(FailureKind.PERMISSION_DENIED, message)
    if status == 404:
        return ItemFailure(FailureKind.OBJECT_MISSING, message)
    if status == 416:  # a range that starts at 0 is refused by an empty object only
        return ItemFailure(FailureKind.EMPTY_FILE, message)
    return ItemFailure(FailureKind.STORAGE_ERROR, message)
