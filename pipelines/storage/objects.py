"""Shared by the storage backends: URIs, settings, and retries of transient failures.

URIs in a manifest:
    /absolute/path              a local file, without percent-encoding
    s3://bucket/key             an object, without percent-encoding; gs:// Google Cloud Storage,
                                az:// (container/key) Azure Blob Storage
    file:///percent-encoded     a local file whose name is not UTF-8, or has a folder `x.zip!`
    <archive uri>!/<member>     a member of an archive; or an object whose key really has `x.zip!/`
    <PDF uri>!/<name>           a file attached to a PDF, which may itself be in an archive
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from pydantic import AfterValidator, Field, model_validator
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random_exponential,
)

from actors.contract import Settings
from actors.failures import FailureKind, ItemFailure


class Here(NamedTuple):
    """Settings with local copies in place of URIs of objects. `places`: path of the copy -> URI."""

    settings: Any
    places: Mapping[str, str]

    def named(self, text: str) -> str:
        """`text` with the path of each copy replaced by its URI."""
        for copy, uri in self.places.items():
            text = text.replace(copy, uri)
        return text


T = TypeVar("T")

#: Beginnings of the URIs of objects.
SCHEMES = ("s3://", "gs://", "az://")

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_MEMBER = re.compile(r"(.+?\.(?:zip|tar|tar\.gz|tgz|pdf))!/(.*)", re.DOTALL | re.IGNORECASE)
_ATTACHMENT = re.compile(r"(.+?\.pdf)!/(.*)", re.DOTALL | re.IGNORECASE)


def _codec(name: str) -> str:
    """Refuse what Python has no text codec for."""
    if name != "auto":
        try:
            "a".encode(name)
        except (LookupError, UnicodeError) as error:
            raise ValueError("no encoding that Python knows; for example cp932") from error
    return name


class StorageSettings(Settings):
    """Access to objects. Credentials come from the cloud's default chain, never from a config."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {
            *("endpoint_url", "region", "anonymous", "addressing", "max_attempts"),
            *("connect_timeout_s", "read_timeout_s", "follow_links"),
            *("max_archive_bytes", "max_archive_members"),
        }
    )

    endpoint_url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="URL of the store: an S3-compatible one, an emulator, or "
        "https://ACCOUNT.blob.core.windows.net; null: AWS, Google, the account of the environment",
    )
    region: str | None = Field(
        None, description="region of the bucket (S3); null: from boto's default chain"
    )
    anonymous: bool = Field(False, description="send unsigned requests (public buckets)")
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto",
        description="where requests to S3 name the bucket: in the path, or in the host name",
    )
    max_attempts: int = Field(
        9,
        ge=1,
        description="attempts per request, with jittered backoff; 9 survive an outage of 35 s",
    )
    connect_timeout_s: float = Field(
        5.0, gt=0, description="seconds to wait for a connection before a retry"
    )
    read_timeout_s: float = Field(
        60.0, gt=0, description="seconds without data on a connection before a retry"
    )
    follow_links: bool = Field(True, description="follow symbolic links in a local folder")
    max_archive_bytes: int = Field(
        32 << 30,
        ge=1,
        description="most temporary disk space for one tar; each worker may hold two",
    )
    max_archive_members: int = Field(
        500_000,
        ge=1,
        description="most members of one archive; each takes about 700 bytes of memory while the "
        "archive is open, and each worker may hold two",
    )

    member_names: Annotated[str, AfterValidator(_codec)] = Field(
        "auto",
        description="encoding of names in zips and tars that do not state one, such as cp932 "
        "(Japanese), gb18030, cp950, cp949, cp866, cp1252; auto: UTF-8 where they are UTF-8, else "
        "a guess from all names of the archive",
    )

    @model_validator(mode="after")
    def _no_credentials(self) -> Self:
        # A validator of the whole model: a field's validator would print the password.
        if self.endpoint_url and "@" in urlsplit(self.endpoint_url).netloc:
            raise ValueError(
                "endpoint_url holds a user or password; set them where boto finds credentials"
            )
        if self.endpoint_url and urlsplit(self.endpoint_url).query:
            raise ValueError("endpoint_url has a query, which may hold a signature; leave it out")
        return self


class Entry(NamedTuple):
    """One stored object. `etag` of a local file: ``<size>-<mtime_ns>``; "" when unknown."""

    uri: str
    etag: str
    bytes: int


class Status(NamedTuple):
    """An object as a listing or a HEAD describes it. `modified`: seconds since the epoch."""

    uri: str
    etag: str
    bytes: int
    modified: float


class Stored(NamedTuple):
    """A small object with its version and its age in seconds, by the clock of the store.

    `etag` is for a conditional write; on Google Cloud it is the generation. The age is 0 if the
    store's clock is not known.
    """

    data: bytes
    etag: str
    age_s: float


class TransientFailure(ItemFailure):
    """STORAGE_ERROR that a retry may solve: throttling, a timeout, a broken connection."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.STORAGE_ERROR, message)


class CredentialsRefused(ItemFailure):
    """PERMISSION_DENIED of the credentials: with them no object can be read.

    They are missing, expired, revoked, disabled, wrongly signed, or cannot be fetched just now.
    """

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.PERMISSION_DENIED, message)


class BucketMissing(ItemFailure):
    """OBJECT_MISSING of the whole bucket: none of its objects can be read."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.OBJECT_MISSING, message)


class NoRoomToUnpack(ItemFailure):
    """STORAGE_ERROR of this machine: an archive cannot be written to its temporary folder."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.STORAGE_ERROR, message)


class Conflict(ItemFailure):
    """OBJECT_CHANGED: a conditional write found another version of the object."""

    def __init__(self, message: str) -> None:
        super().__init__(FailureKind.OBJECT_CHANGED, message)


def retried(attempts: int, call: Callable[[], T]) -> T:
    """`call()`, retried after a TransientFailure; raises the last one.

    Waits double from 0.5 s to 20 s. Half of each wait is random, so that workers do not retry in
    step; the other half is fixed, so that 9 attempts last at least 36 s (at most 72 s).
    """
    retrying = Retrying(
        stop=stop_after_attempt(attempts),
        wait=wait_exponential(multiplier=0.25, max=10)
        + wait_random_exponential(multiplier=0.25, max=10),
        retry=retry_if_exception_type(TransientFailure),
        reraise=True,
    )
    return retrying(call)


def check_etag(uri: str, found: str, expected: str | None) -> None:
    """Raise OBJECT_CHANGED unless `expected` is empty or equal to `found`."""
    if expected and found != expected:
        raise ItemFailure(
            FailureKind.OBJECT_CHANGED, f"{uri} is version {found}, the manifest has {expected}"
        )


def check_size(uri: str, size: int, max_bytes: int) -> None:
    """Raise EMPTY_FILE or TOO_MANY_BYTES."""
    if size == 0:
        raise ItemFailure(FailureKind.EMPTY_FILE, f"{uri} has zero bytes")
    if size > max_bytes:
        raise ItemFailure(
            FailureKind.TOO_MANY_BYTES, f"{uri} has {size:,} bytes, the limit is {max_bytes:,}"
        )


def is_bucket(uri: str) -> bool:
    """Whether the URI names an object in a bucket."""
    return uri.startswith(SCHEMES)


def split_bucket(uri: str) -> tuple[str, str]:
    """(bucket, key) of the URI of an object."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def local_path(uri: str) -> bytes:
    """The path of a local URI, as the kernel's bytes (works for any locale and any name)."""
    if uri.startswith("file://"):
        return unquote_to_bytes(uri.removeprefix("file://").removeprefix("localhost"))
    return uri.encode("utf-8", "surrogateescape")


def local_uri(path: bytes) -> str:
    """The URI of a local path: the path itself, or file:// if it needs percent-encoding.

    That is a name that is not UTF-8, and a folder really called `x.zip!`: as `x.zip%21` it is no
    archive.
    """
    quoted = "file://" + quote_from_bytes(path, safe="/!")
    try:
        plain = path.decode("utf-8")
    except UnicodeDecodeError:
        plain = quoted
    return plain if split_member(plain)[1] is None else quoted.replace("!/", "%21/")


def plain_path(uri: str) -> str:
    """A file:// URI as a path for people, if that is UTF-8; other URIs as they are."""
    archive, member = split_member(uri)
    try:
        plain = local_path(archive).decode() if archive.startswith("file://") else archive
    except UnicodeDecodeError:
        return uri
    return plain if member is None else f"{plain}!/{member}"


def is_archive_name(name: str) -> bool:
    """Whether the name ends like a zip or tar. Needed because a .docx has the content of a zip."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def split_member(uri: str) -> tuple[str, str | None]:
    """(stored object, name in it) of ``x.zip!/a/b.pdf`` and ``x.pdf!/b.xml``, else (uri, None).

    Splits at the first ``!/``.
    """
    found = _MEMBER.fullmatch(uri)
    return (found[1], found[2]) if found else (uri, None)


def split_attachment(uri: str) -> tuple[str, str | None]:
    """(PDF, name of the attached file) of ``x.zip!/a.pdf!/b.xml``, else (uri, None).

    `Storage` reads the PDF; the file in it is read in a sandbox (`pipelines.pages.sandbox`).
    """
    found = _ATTACHMENT.fullmatch(uri)
    return (found[1], found[2]) if found else (uri, None)


def names_attachments(uri: str) -> bool:
    """Whether files attached to the PDF at `uri` have URIs; not if it is attached itself."""
    return uri.lower().endswith(".pdf") and split_attachment(uri)[1] is None
