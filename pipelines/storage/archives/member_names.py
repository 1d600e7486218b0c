"""The names of an archive's members, which may be bytes of any encoding.

A zip says of a name that it is UTF-8 (a flag, or an extra field with the name in UTF-8). Windows'
own zips and old tars say nothing, and use the encoding of the machine that wrote them. All such
names of an archive are judged together (`guessed`): one name alone is often too short.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence

from pipelines.storage.archives.code_pages import guessed, text_of

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075  # extra field: version, CRC-32 of the name in the header, name in UTF-8
_CRC_OF_NAME = struct.Struct("<BL")
_FIELD = struct.Struct("<HH")


def zip_names(members: Sequence[zipfile.ZipInfo], encoding: str) -> list[str]:
    """The names of a zip's members, in order.

    The flag decides, then the Unicode extra field, then `encoding`; `auto`: UTF-8 where the bytes
    are UTF-8, else a guess for all of them together.
    """
    raw = [raw_name(info) for info in members]
    stated = [_stated(info, name) for info, name in zip(members, raw, strict=True)]
    unstated = [name for name, text in zip(raw, stated, strict=True) if text is None]
    rest = iter(decoded(unstated, encoding))
    return [next(rest) if text is None else text for text in stated]


def raw_name(info: zipfile.ZipInfo) -> bytes:
    """The bytes of a name, up to a NUL: zipfile has decoded them as UTF-8 or cp437."""
    name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8_FLAG else "cp437")
    return name.partition(b"\0")[0]


def _stated(info: zipfile.ZipInfo, raw: bytes) -> str | None:
    """The name as the zip itself states it; None if it does not say."""
    if info.flag_bits & _UTF8_FLAG or raw.isascii():
        return raw.decode("utf-8", "backslashreplace")
    at = 0
    while at + _FIELD.size <= len(info.extra):
        kind, size = _FIELD.unpack_from(info.extra, at)
        field = info.extra[at + _FIELD.size :][:size]
        if kind == _UNICODE_PATH and len(field) > _CRC_OF_NAME.size:
            version, crc = _CRC_OF_NAME.unpack_from(field)
            name = text_of(field[_CRC_OF_NAME.size :], "utf-8")
            # A program that renames the member and does not know the field leaves the old name.
            if version == 1 and crc == zlib.crc32(raw) and name:
                return name
        at += _FIELD.size + size
    return None


def tar_names(names: Sequence[str], encoding: str) -> dict[str, str]:
    """The names in place of those that are no UTF-8 (decoded with `surrogateescape`)."""
    odd = [name for name in names if not _is_text(name)]
    raw = [name.encode("utf-8", "surrogateescape") for name in odd]
    return dict(zip(odd, decoded(raw, encoding), strict=True))


def old_tar_name(name: str) -> str:
    """What versions of before 2026-12 made of a name that is no UTF-8: ``M\\xfcller.pdf``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def decoded(names: Sequence[bytes], encoding: str) -> list[str]:
    """Names of one archive without a stated encoding. `encoding`: a codec, or `auto`."""
    if encoding == "auto":
        unsure = [name for name in names if text_of(name, "utf-8") is None]
        encoding = guessed(unsure)
        order = ("utf-8", encoding)
    else:
        order = (encoding, "utf-8")
    found = []
    for name in names:
        texts = (text_of(name, one) for one in order)
        text = next((text for text in texts if text is not None), None)
        found.append(text if text is not None else name.decode(encoding, "backslashreplace"))
    return found
