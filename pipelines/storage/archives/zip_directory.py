"""Checks of a zip's directory that zipfile lacks: the number of members, and members that overlap.

zipfile reads the whole directory at once and makes an object of 600 to 700 bytes for each member. A
zip of 53 MB with 10^6 members of the same data takes 600 MB.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import IO

import numpy as np

from actors.failures import FailureKind, ItemFailure

_MARK = b"PK\x01\x02"
_HEADER = 46  #: bytes of a member in the directory, without its name, extra field and comment
_LENGTHS = struct.Struct("<HHH")  #: of these three, at byte 28
_OFFSET = struct.Struct("<I")  #: of a member's own header, at byte 42
_UTF8_FLAG = 0x08  #: in the second byte of the flags: the name is UTF-8
_LOCAL = 30  #: bytes of a member's own header, without name and extra field
#: Bytes of one member in the directory, on average. Longer names make the archive suspicious.
_MOST_BYTES = 512
_TAIL = (1 << 16) + 22  #: zipfile reads the end record with its comment at once


class ZipFileOf(io.RawIOBase):
    """The file of a zip, for zipfile. Raises TOO_MANY_MEMBERS before it reads a large directory."""

    def __init__(self, uri: str, file: IO[bytes], most: int) -> None:
        self._uri, self._file, self._most = uri, file, most
        self.checks = True
        #: Where members start whose flag says wrongly that their name is UTF-8.
        self._false_flags: set[int] = set()

    def read(self, size: int = -1) -> bytes:
        if not self.checks:
            return self._header() if self._false_flags and size == _LOCAL else self._file.read(size)
        if size > max(_TAIL, self._most * _MOST_BYTES):
            raise self._too_many(f"a directory of {size:,} bytes")
        data = self._file.read(size)
        if data.startswith(_MARK):
            self._count(data)
            return self._with_true_flags(data)
        return data

    def _header(self) -> bytes:
        """The header of a member; zipfile reads it before each member."""
        start = self._file.tell()
        data = self._file.read(_LOCAL)
        if start not in self._false_flags or len(data) < _LOCAL:
            return data
        return data[:7] + bytes([data[7] & ~_UTF8_FLAG]) + data[8:]

    def _with_true_flags(self, directory: bytes) -> bytes:
        """The directory without the UTF-8 flag of names that are not: zipfile refuses the zip."""
        found = bytearray(directory)
        at = 0
        while found.startswith(_MARK, at) and at + _HEADER <= len(found):
            name, extra, comment = _LENGTHS.unpack_from(found, at + 28)
            if found[at + 9] & _UTF8_FLAG:
                try:
                    found[at + _HEADER : at + _HEADER + name].decode()
                except UnicodeDecodeError:
                    found[at + 9] &= ~_UTF8_FLAG
                    self._false_flags.update(_OFFSET.unpack_from(found, at + 42))
            at += _HEADER + name + extra + comment
        return bytes(found)

    def _count(self, directory: bytes) -> None:
        """The true number: the one in the end record may be a lie, and zipfile ignores it."""
        at = members = 0
        while directory.startswith(_MARK, at) and at + _HEADER <= len(directory):
            members += 1
            if members > self._most:
                raise self._too_many("more members")
            at += _HEADER + sum(_LENGTHS.unpack_from(directory, at + 28))

    def _too_many(self, what: str) -> ItemFailure:
        return ItemFailure(
            FailureKind.TOO_MANY_MEMBERS,
            f"{self._uri} has {what}; the limit is {self._most:,} members "
            "(storage.max_archive_members)",
        )

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def check_apart(uri: str, members: list[zipfile.ZipInfo]) -> None:
    """Raise CORRUPT_ARCHIVE if the data of two members overlap: no packer writes this."""
    count = len(members)
    starts = np.fromiter((one.header_offset for one in members), np.int64, count)
    sizes = np.fromiter((one.compress_size for one in members), np.int64, count)
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], (starts + _LOCAL + sizes)[order]
    if overlapping := int(np.count_nonzero(ends[:-1] > starts[1:])):
        raise ItemFailure(
            FailureKind.CORRUPT_ARCHIVE,
            f"{uri}: {overlapping:,} of {count:,} members overlap, as in a zip bomb",
        )
