"""Members of zip and tar archives, read in place: nothing is ever unpacked under its own name.

One level: an archive inside an archive stays a closed file. What an archive says about itself is
not believed: sizes are limited as declared and as found, and so is the compression ratio.
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
from typing import IO, NamedTuple

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.objects import check_size

#: Unpacked : packed. Scans reach 1,000 : 1 only as uncompressed blank pages, and those are small
#: (a blank A4 page at 600 dpi is 104 MB in RGB), hence no limit below `_RATIO_FLOOR` bytes.
MAX_RATIO = 200
_RATIO_FLOOR = 128 << 20

_CHUNK = 1 << 20
#: The others, rare in zips, zipfile unpacks without a limit: 4 KiB of bzip2 can be 5 GB of zeros.
_BOUNDED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: A tar header that claims more is an attack on our memory (names are at most some KiB).
_MAX_TAR_HEADER = 1 << 20

_BLOCK = tarfile.BLOCKSIZE


class Member(NamedTuple):
    """One file in an archive. `bytes`: unpacked, as declared."""

    name: str
    bytes: int


class Archive(ABC):
    """An open archive. Thread-safe. Its file is closed when the last reference goes."""

    #: What is wrong with the archive as a whole; members before the damage can be read.
    damage: str | None = None
    #: Members hidden by a later one of the same name.
    superseded: int = 0

    def __init__(self, uri: str, files: ExitStack) -> None:
        self.uri = uri
        weakref.finalize(self, files.close)

    @abstractmethod
    def members(self) -> Iterator[Member]:
        """Its files in archive order, each name once; no folders, links or devices."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Unpacked bytes of a member, as declared. Raises ItemFailure."""

    @abstractmethod
    def read(self, name: str, max_bytes: int) -> bytes:
        """A member. Raises ItemFailure."""

    @abstractmethod
    def read_head(self, name: str, size: int) -> bytes:
        """Its first bytes, `size` at most; EMPTY_FILE if there are none. Raises ItemFailure."""

    def _missing(self, name: str) -> ItemFailure:
        if self.damage is not None:
            return ItemFailure(FailureKind.CORRUPT_ARCHIVE, f"{self.uri}: {self.damage}")
        return ItemFailure(FailureKind.OBJECT_MISSING, f"{self.uri} has no member {name!r}")


class ZipArchive(Archive):
    """Reads through the central directory; `file` needs to seek, nothing is copied."""

    def __init__(self, uri: str, file: IO[bytes], files: ExitStack) -> None:
        super().__init__(uri, files)
        try:
            self._zip = zipfile.ZipFile(file)
        except (ItemFailure, MemoryError):
            raise
        except Exception as error:  # a parser let loose on hostile bytes raises anything
            raise _corrupt(uri, error) from error
        self.superseded = len(self._zip.infolist()) - len(self._zip.NameToInfo)

    def members(self) -> Iterator[Member]:
        for info in self._zip.NameToInfo.values():
            if not info.is_dir():
                yield Member(info.filename, info.file_size)

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
        info = self._zip.NameToInfo.get(name)
        if info is None:
            raise self._missing(name)
        return info

    def _unpacked(self, info: zipfile.ZipInfo, size: int) -> bytes:
        """At most `size` bytes: zipfile stops at the declared size, then checks the CRC."""
        where = f"{self.uri}!/{info.filename}"
        if info.compress_type not in _BOUNDED_METHODS:
            raise ItemFailure(
                FailureKind.UNSUPPORTED_KIND,
                f"{where} is packed by zip method {info.compress_type}, only deflate is read",
            )
        data = bytearray()
        try:
            with self._zip.open(info) as file:
                while len(data) < size and (more := file.read(min(_CHUNK, size - len(data)))):
                    data += more
        except (ItemFailure, MemoryError):
            raise
        except Exception as error:  # bad CRC, zlib.error, a password, an unknown method, ...
            raise _corrupt(where, error) from error
        return bytes(data)


class TarArchive(Archive):
    """Reads a plain tar by an index of names; `file` is a real file."""

    def __init__(
        self, uri: str, file: IO[bytes], files: ExitStack, damage: str | None = None
    ) -> None:
        super().__init__(uri, files)
        self._file = file
        self._spans: dict[str, tuple[int, int]] = {}  # name -> offset, size
        self.damage = self._index() or damage

    def _index(self) -> str | None:
        """Fill `_spans`. Returns what is wrong with the archive, if anything."""
        self._file.seek(0)
        try:
            with tarfile.open(
                fileobj=_Headers(self._file), mode="r:", encoding="utf-8", errors="backslashreplace"
            ) as tar:
                return self._indexed(tar)
        except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError) as error:
            return f"{type(error).__name__}: {error}"

    def _indexed(self, tar: tarfile.TarFile) -> str | None:
        offset, damage = -1, None
        while (info := tar.next()) is not None:
            damage = self._add(info) or damage
            tar.members.clear()  # type: ignore[attr-defined]  # it keeps each header, 2 KB apiece
            if tar.offset <= offset:  # a negative size would send it round for ever
                return f"member {info.name!r} declares an impossible size"
            offset = tar.offset
        if os.pread(self._file.fileno(), _BLOCK, tar.offset) != bytes(_BLOCK):
            return f"no end mark at byte {tar.offset:,}: cut off or overwritten"
        return damage

    def _add(self, info: tarfile.TarInfo) -> str | None:
        if info.issparse():
            return f"member {info.name!r} is stored sparse, which is not supported"
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
                FailureKind.CORRUPT_ARCHIVE, f"{self.uri}!/{name} is cut off: {self.damage}"
            )
        return data

    def read_head(self, name: str, size: int) -> bytes:
        offset, whole = self._span(name)
        check_size(f"{self.uri}!/{name}", whole, max(size, whole))
        return os.pread(self._file.fileno(), min(size, whole), offset)

    def _span(self, name: str) -> tuple[int, int]:
        if name not in self._spans:
            raise self._missing(name)
        return self._spans[name]


class _Headers(io.RawIOBase):
    """What tarfile sees of the file: no header of it is worth more than a mebibyte."""

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
    """Whether the first 512 bytes are those of a zip, a gzip or a tar."""
    return is_zip(head) or head.startswith(b"\x1f\x8b") or _is_tar(head)


def is_zip(head: bytes) -> bool:
    """PK and: a first member, an empty archive's end, or a split archive's mark."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"))


def _is_tar(head: bytes) -> bool:
    if head[:_BLOCK] == bytes(_BLOCK):  # an empty one
        return True
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "replace")
    except tarfile.HeaderError:
        return False
    return True


def open_tar(uri: str, file: IO[bytes], files: ExitStack, max_bytes: int) -> Archive:
    """A tar, packed with gzip or not. A packed one is unpacked to a nameless temporary file.

    `files` closes `file`; ownership of both passes to the archive.
    """
    file.seek(0)
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not packed:
        return TarArchive(uri, file, files.pop_all())
    with ExitStack() as own:
        plain = own.enter_context(tempfile.TemporaryFile())
        damage = _gunzip(uri, file, plain, max_bytes)
        return TarArchive(uri, plain, own.pop_all(), damage)


def _gunzip(uri: str, file: IO[bytes], plain: IO[bytes], max_bytes: int) -> str | None:
    """Copy what unpacks into `plain`. Returns what is wrong with the rest, if anything."""
    packed = os.fstat(file.fileno()).st_size
    with gzip.GzipFile(fileobj=file) as unpacker:
        while True:
            try:
                chunk = unpacker.read1(_CHUNK)  # `read` drops what precedes a fault
            except (EOFError, OSError, zlib.error) as error:
                return f"{type(error).__name__}: {error}"
            if not chunk:
                return None
            plain.write(chunk)
            check_size(uri, plain.tell(), max_bytes)
            check_ratio(uri, plain.tell(), packed)


def check_ratio(uri: str, unpacked: int, packed: int) -> None:
    """Raise TOO_MANY_BYTES for a large thing that was packed too well to be scans."""
    if unpacked > _RATIO_FLOOR and unpacked > MAX_RATIO * packed:
        raise ItemFailure(
            FailureKind.TOO_MANY_BYTES,
            f"{uri} unpacks {packed:,} bytes to {unpacked:,} or more: over {MAX_RATIO} to 1",
        )


def _corrupt(uri: str, error: Exception) -> ItemFailure:
    return ItemFailure(FailureKind.CORRUPT_ARCHIVE, f"{uri}: {type(error).__name__}: {error}")
