"""Paths of a run directory, local or in a bucket.

`RunPath` is a pathlib.Path or a `BucketPath`, which has the methods of pathlib that a run directory
needs. A BucketPath is no os.PathLike: code that needs a local file raises TypeError instead of
opening a folder called "s3:".
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import ConfigError, OutputUnwritable, RunUnreadable
from pipelines.storage.bucket import Bucket, connected
from pipelines.storage.damage import NamedParquet, named
from pipelines.storage.local import replacing
from pipelines.storage.objects import Entry, Status, StorageSettings, is_bucket
from pipelines.storage.remote_file import RemoteFile

#: Environment variable with StorageSettings as JSON, for run directories in buckets without config.
STORAGE_ENV = "NIGHTJAR_STORAGE"

#: Key of StorageSettings in pydantic's validation context: validation may read files.
STORAGE_CONTEXT = "storage"

#: Bytes of one read-ahead from an object, except for Parquet, which plans its own reads.
_READ_AHEAD = 1 << 20
_MOST_BYTES = 1 << 30  #: limit of an object read as a whole: records, small tables, pictures
_MAGIC = re.compile(r"[*?\[]")


class FileStatus(NamedTuple):
    """The fields of os.stat_result that a bucket has."""

    st_size: int
    st_mtime: float


def settings_of_environment() -> StorageSettings:
    """Storage settings for commands without a config, from NIGHTJAR_STORAGE. Raises ConfigError."""
    try:
        return StorageSettings.model_validate_json(os.environ.get(STORAGE_ENV) or "{}")
    except ValueError as error:
        raise ConfigError(
            f"{STORAGE_ENV} does not hold storage settings as JSON: {error}",
            "use the keys of `storage` in a config",
        ) from None


class BucketPath:
    """``s3://bucket/key``, also ``gs://`` and ``az://``. A folder is a prefix of keys.

    It exists if any object is below it.
    Writes are atomic. Reading raises FileNotFoundError or RunUnreadable, writing OutputUnwritable.
    """

    def __init__(
        self, uri: str, settings: StorageSettings | None = None, status: Status | None = None
    ) -> None:
        self.settings = settings or settings_of_environment()
        self._uri = uri.rstrip("/")
        self._status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._uri, self.settings, self._status)

    def __str__(self) -> str:
        return self._uri

    def __repr__(self) -> str:
        return f"BucketPath({self._uri!r})"

    def __hash__(self) -> int:
        return hash(self._uri)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketPath) and other._uri == self._uri

    def __lt__(self, other: BucketPath) -> bool:
        return self._uri < other._uri

    def __truediv__(self, name: str | PurePosixPath) -> BucketPath:
        return BucketPath(f"{self._uri}/{name}", self.settings)

    @property
    def store(self) -> Bucket:
        """The client of its store."""
        return connected(self._uri, self.settings)

    @property
    def name(self) -> str:
        return self._uri.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> BucketPath:
        return BucketPath(self._uri.rpartition("/")[0], self.settings)

    def with_name(self, name: str) -> BucketPath:
        return self.parent / name

    def with_suffix(self, suffix: str) -> BucketPath:
        return self.with_name(PurePosixPath(self.name).with_suffix(suffix).name)

    def resolve(self) -> BucketPath:
        """Returns itself: a URI is absolute and has no links."""
        return self

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: a bucket has no folders."""

    def stat(self) -> FileStatus:
        """Size and time of the object. A path from a listing needs no further request."""
        with _reading(self):
            status = self._status or self.store.status(self._uri)
        return FileStatus(status.bytes, status.modified)

    def is_file(self) -> bool:
        """Whether an object of this name exists."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether any object is below this prefix."""
        with _reading(self):
            return next(self.store.list(f"{self._uri}/"), None) is not None

    def exists(self) -> bool:
        """Whether it exists as a file or as a folder."""
        return self.is_file() or self.is_dir()

    def glob(self, pattern: str) -> Iterator[BucketPath]:
        """Objects directly in this folder that match `pattern`, sorted by name."""
        prefix = f"{self._uri}/"
        wanted = re.compile(fnmatch.translate(pattern)).match
        with _reading(self):
            for found in self.store.listed(prefix + _MAGIC.split(pattern)[0], recursive=False):
                if wanted(found.uri.removeprefix(prefix)):
                    yield BucketPath(found.uri, self.settings, found)

    def iterdir(self) -> Iterator[BucketPath]:
        """All objects directly in this folder, sorted by name; empty if the folder is missing."""
        return self.glob("*")

    def walk_files(self) -> Iterator[BucketPath]:
        """All objects at any depth."""
        with _reading(self):
            for found in self.store.listed(f"{self._uri}/"):
                yield BucketPath(found.uri, self.settings, found)

    def reach(self) -> None:
        """Raise RunUnreadable, after few attempts, if the store does not answer."""
        with suppress(FileNotFoundError), _reading(self):
            self.store.reach(self._uri)

    def download(self, folder: Path) -> dict[str, bytes]:
        """Copy the objects directly in this folder to a new local one. Returns name -> content."""
        folder.mkdir(parents=True)
        contents = {path.name: path.read_bytes() for path in self.iterdir()}
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        return contents

    def upload(self, folder: Path, before: Mapping[str, bytes]) -> None:
        """Copy the changes of a local folder here. `before`: name -> content when downloaded."""
        there = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        for name, data in there.items():
            if before.get(name) != data:
                (self / name).write_bytes(data)
        for name in before.keys() - there.keys():
            (self / name).unlink()

    def read_bytes(self) -> bytes:
        if not self.stat().st_size:
            return b""
        with _reading(self):
            return self.store.get(self._uri, max_bytes=_MOST_BYTES)

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_bytes(self, data: bytes | memoryview) -> None:
        with writing():
            self.store.put(self._uri, bytes(data))

    def write_text(self, text: str) -> None:
        self.write_bytes(text.encode())

    def unlink(self, *, missing_ok: bool = True) -> None:
        """Remove the object if it exists; a bucket does not report whether it did."""
        with writing():
            self.store.delete(self._uri)

    def opened(self) -> io.RawIOBase:
        """The current version of the object as a seekable file."""
        with _reading(self):
            status = self._status or self.store.status(self._uri)
        return _RunFile(self.store, Entry(*status[:3]))

    def open(self) -> io.BufferedReader:
        """The same with read-ahead, for many small reads."""
        return io.BufferedReader(self.opened(), _READ_AHEAD)


#: A path of a run directory.
RunPath = Path | BucketPath


class _RunFile(RemoteFile):
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as in RemoteFile
        try:
            return super().readinto(buffer)
        except ItemFailure as fault:
            raise _unreadable(fault) from fault


@contextmanager
def _reading(path: BucketPath) -> Iterator[None]:
    try:
        yield
    except ItemFailure as fault:
        if fault.kind is FailureKind.OBJECT_MISSING:
            raise FileNotFoundError(errno.ENOENT, "no such object", str(path)) from fault
        raise _unreadable(fault) from fault


def _unreadable(fault: ItemFailure) -> RunUnreadable:
    if fault.kind is FailureKind.OBJECT_CHANGED:
        return RunUnreadable(
            f"cannot read: {fault.message}",
            "nightjar run --retry-failed has replaced it meanwhile: start the command again",
        )
    return RunUnreadable(
        f"cannot read: {fault.message}",
        f"check bucket, credentials and endpoint ({STORAGE_ENV} as JSON; S3: AWS_ENDPOINT_URL)",
    )


@contextmanager
def writing() -> Iterator[None]:
    """Turn ItemFailure into OutputUnwritable."""
    try:
        yield
    except ItemFailure as fault:
        raise OutputUnwritable(
            f"cannot write: {fault.message}",
            "check bucket, endpoint and credentials, then start the same command again: "
            "committed rows are kept",
        ) from fault


def run_path(path: str | RunPath, settings: StorageSettings | None = None) -> RunPath:
    """The path of a run directory, local or in a bucket. Raises ConfigError for other schemes."""
    if isinstance(path, BucketPath):
        return path
    if is_bucket(str(path)):
        return BucketPath(str(path), settings)
    if "://" in str(path):
        raise ConfigError(
            f"run_dir {path} is neither a local or mounted directory nor on s3://, gs:// or az://",
            "set run_dir to a path or to s3://BUCKET/PREFIX",
        )
    return Path(path)


def listed(folder: RunPath, pattern: str) -> list[RunPath]:
    """Files directly in a folder, sorted by name; empty if the folder is missing."""
    return [*sorted(folder.glob(pattern))] if isinstance(folder, Path) else [*folder.glob(pattern)]


def parquet(path: RunPath) -> NamedParquet:
    """The Parquet file at `path`. From a bucket, only the requested columns are downloaded.

    Opening and reading raise RunDamaged and RunUnreadable, which name the file.
    """
    with named(path):
        return NamedParquet(path, path.opened() if isinstance(path, BucketPath) else path)


def write_parquet(rows: pa.Table, path: RunPath, **options: Any) -> int:
    """Write a table atomically as one file. Returns its size in bytes. Raises OSError.

    On a disk it is flushed: a power failure leaves the whole file or none. Pages have checksums:
    without them four of five flipped bits are read as wrong values, with them none.
    """
    options = {"write_page_checksum": True, **options}
    if isinstance(path, BucketPath):
        buffer = pa.BufferOutputStream()
        pq.write_table(rows, buffer, **options)
        data = buffer.getvalue()
        path.write_bytes(data.to_pybytes())
        return len(data)
    with replacing(path) as file:
        pq.write_table(rows, file, **options)
    return path.stat().st_size


def write_whole(path: RunPath, data: bytes) -> None:
    """Replace a file atomically: readers see the old or the new content. Raises OSError."""
    if isinstance(path, BucketPath):
        path.write_bytes(data)
        return
    with replacing(path) as file:
        file.write(data)
