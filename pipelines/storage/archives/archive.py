"""Members of zip and tar archives, read in place: no member is ever written to disk by name.

One level only: an archive inside an archive is not opened. Metadata in an archive is not trusted:
declared size, actual size, compression ratio and number of members all have limits.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, NamedTuple, cast

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.archives.member_names import old_tar_name, tar_names, zip_names
from pipelines.storage.archives.zip_directory import ZipFileOf, check_apart
from pipelines.storage.local import no_answer
from pipelines.storage.objects import check_size

#: Unpacked size : packed size. Real scans reach 1,000 : 1 only as uncompressed blank pages (A4 at
#: 600 dpi: 104 MB in RGB). So there is no limit below `_RATIO_FLOOR` bytes.
MAX_RATIO = 200
_RATIO_FLOOR = 128 << 20

_CHUNK = 1 << 20
#: zipfile unpacks other methods without a limit (4 KiB of bzip2 can be 5 GB of zeros).
_BOUNDED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: A tar header that claims more is an attack on memory: names take a few KiB at most.
_MAX_TAR_HEADER = 1 << 20

_BLOCK = tarfile.BLOCKSIZE


class Member(NamedTuple):
    """One file in an archive. `bytes`: declared unpacked size."""

    name: str
    bytes: int


class Archive(ABC):
    """An open archive. Thread-safe. Its file is closed with the last reference."""

    #: What is wrong with the archive; members before the damage can be read.
    damage: str | None = None
    #: Members that a later member of the same name replaces.
    superseded: int = 0

    def __init__(self, uri: str, files: ExitStack) -> None:
        self.uri = uri
        weakref.finalize(self, files.close)

    @abstractmethod
    def members(self) -> Iterator[Member]:
        """The files in archive order, each name once; no folders, links or devices."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Declared unpacked bytes of a member. Raises ItemFailure."""

    @abstractmethod
    def read(self, name: str, max_bytes: int) -> bytes:
        """The content of a member. Raises ItemFailure."""

    @abstractmethod
    def read_head(self, name: str, size: int) -> bytes:
        """The first bytes of a member, at most `size`. Raises ItemFailure (EMPTY_FILE)."""

    def _missing(self, name: str) -> ItemFailure:
        if self.damage is not None:
            return ItemFailure(FailureKind.CORRUPT_ARCHIVE, f"{self.uri}: {self.damage}")
        return ItemFailure(FailureKind.OBJECT_MISSING, f"{self.uri} has no member {name!r}")


class ZipArchive(Archive):
    """A zip, read through its central directory without a copy. `file` must be seekable."""

    def __init__(
        self,
        uri: str,
        file: IO[bytes],
        files: ExitStack,
        most_members: int,
        encoding: str = "auto",
    ) -> None:
        super().__init__(uri, files)
        guarded = ZipFileOf(uri, file, most_members)
        try:
            self._zip = zipfile.ZipFile(cast(IO[bytes], guarded))
            check_apart(uri, self._zip.infolist())
            guarded.checks = False
        except (ItemFailure, MemoryError):
            raise
        except Exception as error:  # a parser can raise anything on malicious bytes
            if no_answer(error):
                raise
            raise _corrupt(uri, error) from error
        every = self._zip.infolist()
        self._members = dict(zip(zip_names(every, encoding), every, strict=True))
        self.superseded = len(every) - len(self._members)

    def members(self) -> Iterator[Member]:
        for name, info in self._members.items():
            if not info.is_dir():
                yield Member(name, info.file_size)

    def size(self, name: str) -> int:
        return self._info(name).file_size

    def read(self, name: str, max_bytes: int) -> bytes:
        info = self._info(name)
        where = f"{self.uri}!/{name}"
        check_size(where, info.file_size, max_bytes)
        check_ratio(where, info.file_size, info.compress_size)
        data = self._unpacked(info, info.file_size)
        if len(data) < info.file_size:
            raise _corrupt(where, EOFError(f"{len(data):,} of {info.file_size:,} bytes"))
        return data

    def read_head(self, name: str, size: int) -> bytes:
        info = self._info(name)
        check_size(f"{self.uri}!/{name}", info.file_size, max(size, info.file_size))
        return self._unpacked(info, size)

    def _info(self, name: str) -> zipfile.ZipInfo:
        # Manifests of before 2026-12 have names as zipfile decodes them.
        info = self._members.get(name) or self._zip.NameToInfo.get(name)
        if info is None:
            raise self._missing(name)
        return info

    def _unpacked(self, info: zipfile.ZipInfo, size: int) -> bytes:
        """At most `size` bytes: zipfile stops at the declared size, then checks the CRC."""
        where = f"{self.uri}!/{info.filename}"
        if info.compress_type not in _BOUNDED_METHODS:
            raise ItemFailure(
                FailureKind.UNSUPPORTED_KIND,
                f"{where} uses zip method {info.compress_type}; only deflate is supported",
            )
        data = bytearray()
        try:
            with self._zip.open(info) as file:
                while len(data) < size and (more := file.read(min(_CHUNK, size - len(data)))):
                    data += more
        except (ItemFailure, MemoryError):
            raise
        except Exception as error:  # bad CRC, zlib.error, a password, an unknown method, ...
            if no_answer(error):
                raise
            raise _corrupt(where, error) from error
        return bytes(data)


class TarArchive(Archive):
    """An unpacked tar, read through an index of its names. `file` must be a real file."""

    def __init__(
        self,
        uri: str,
        file: IO[bytes],
        files: ExitStack,
        most_members: int,
        damage: str | None = None,
        encoding: str = "auto",
    ) -> None:
        super().__init__(uri, files)
        self._file, self._most = file, most_members
        self._spans: dict[str, tuple[int, int]] = {}  # name -> offset, size
        self.damage = self._index() or damage
        names = tar_names(list(self._spans), encoding)
        #: Names of manifests of before 2026-12 -> names.
        self._older = {old_tar_name(raw): name for raw, name in names.items()}
        spans = {names.get(name, name): span for name, span in self._spans.items()}
        self.superseded += len(self._spans) - len(spans)
        self._spans = spans

    def _index(self) -> str | None:
        """Fill `_spans`. Returns a description of the damage, or None."""
        self._file.seek(0)
        try:
            with tarfile.open(
                fileobj=_Headers(self._file), mode="r:", encoding="utf-8", errors="surrogateescape"
            ) as tar:
                return self._indexed(tar)
        except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError) as error:
            if no_answer(error):
                raise
            return f"{type(error).__name__}: {error}"

    def _indexed(self, tar: tarfile.TarFile) -> str | None:
        offset, damage, headers = -1, None, 0
        while (info := tar.next()) is not None:
            headers += 1
            if headers > self._most:
                raise ItemFailure(
                    FailureKind.TOO_MANY_MEMBERS,
                    f"{self.uri} has more members; the limit is {self._most:,} "
                    "(storage.max_archive_members)",
                )
            damage = self._add(info) or damage
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps 2 KB per header
            if tar.offset <= offset:  # a negative size would loop for ever
                return f"member {info.name!r} declares an impossible size"
            offset = tar.offset
        if os.pread(self._file.fileno(), _BLOCK, tar.offset) != bytes(_BLOCK):
            return f"no end mark at byte {tar.offset:,}: truncated or overwritten"
        return damage

    def _add(self, info: tarfile.TarInfo) -> str | None:
        if info.issparse():
            return f"member {info.name!r} is a sparse file, which is not supported"
        if info.islnk() and info.linkname in self._spans:
            span = self._spans[info.linkname]
        elif info.isreg():
            span = (info.offset_data, info.size)
        else:
            return None
        self.superseded += info.name in self._spans
        self._spans[info.name] = span
        return None

    def members(self) -> Iterator[Member]:
        for name, (_, size) in self._spans.items():
            yield Member(name, size)

    def size(self, name: str) -> int:
        return self._span(name)[1]

    def read(self, name: str, max_bytes: int) -> bytes:
        size = self.size(name)
        check_size(f"{self.uri}!/{name}", size, max_bytes)
        data = self.read_head(name, size)
        if len(data) < size:
            raise ItemFailure(
                FailureKind.CORRUPT_ARCHIVE, f"{self.uri}!/{name} is truncated: {self.damage}"
            )
        return data

    def read_head(self, name: str, size: int) -> bytes:
        offset, whole = self._span(name)
        check_size(f"{self.uri}!/{name}", whole, max(size, whole))
        return os.pread(self._file.fileno(), min(size, whole), offset)

    def _span(self, name: str) -> tuple[int, int]:
        span = self._spans.get(name) or self._spans.get(self._older.get(name, ""))
        if span is None:
            raise self._missing(name)
        return span


class _Headers(io.RawIOBase):
    """The file as tarfile reads it: a header above 1 MiB raises ReadError."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_TAR_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def is_archive(head: bytes) -> bool:
    """Whether the content is a zip, gzip or tar. `head`: its first 512 bytes or more."""
    return is_zip(head) or head.startswith(b"\x1f\x8b") or _is_tar(head)


def is_zip(head: bytes) -> bool:
    """Whether the content is a zip: starts with a member, is empty, or is split."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"))


def _is_tar(head: bytes) -> bool:
    if head[:_BLOCK] == bytes(_BLOCK):  # an empty tar
        return True
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "replace")
    except tarfile.HeaderError:
        return False
    return True


def open_tar(
    uri: str,
    file: IO[bytes],
    files: ExitStack,
    max_bytes: int,
    most_members: int,
    encoding: str = "auto",
) -> Archive:
    """A tar or tar.gz. A tar.gz is unpacked to an anonymous temporary file.

    `files` closes `file`; the archive takes ownership of both. `encoding`: see
    `StorageSettings.member_names`. Raises ItemFailure.
    """
    file.seek(0)
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not packed:
        return TarArchive(uri, file, files.pop_all(), most_members, encoding=encoding)
    with ExitStack() as own:
        plain = own.enter_context(tempfile.TemporaryFile())
        damage = _gunzip(uri, file, plain, max_bytes)
        return TarArchive(uri, plain, own.pop_all(), most_members, damage, encoding)


def _gunzip(uri: str, file: IO[bytes], plain: IO[bytes], max_bytes: int) -> str | None:
    """Unpack `file` into `plain`. Returns a description of the damage at its end, or None."""
    packed = os.fstat(file.fileno()).st_size
    with gzip.GzipFile(fileobj=file) as unpacker:
        while True:
            try:
                chunk = unpacker.read1(_CHUNK)  # `read` would drop the data before a fault
            except (EOFError, OSError, zlib.error) as error:
                if no_answer(error):
                    raise
                return f"{type(error).__name__}: {error}"
            if not chunk:
                return None
            plain.write(chunk)
            check_size(uri, plain.tell(), max_bytes)
            check_ratio(uri, plain.tell(), packed)


def check_ratio(uri: str, unpacked: int, packed: int) -> None:
    """Raise TOO_MANY_BYTES if the compression ratio of a large file is too high for scans."""
    if unpacked > _RATIO_FLOOR and unpacked > MAX_RATIO * packed:
        raise ItemFailure(
            FailureKind.TOO_MANY_BYTES,
            f"{uri} unpacks from {packed:,} bytes to {unpacked:,} or more; "
            f"the limit is {MAX_RATIO} to 1",
        )


def _corrupt(uri: str, error: Exception) -> ItemFailure:
    return ItemFailure(FailureKind.CORRUPT_ARCHIVE, f"{uri}: {type(error).__name__}: {error}")
