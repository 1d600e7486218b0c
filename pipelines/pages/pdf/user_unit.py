"""The UserUnit of a page, which pdfium does not tell. Child process only."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

_KEY = b"/UserUnit"
_PACKED = re.compile(rb"/ObjStm\b.{0,600}?stream\r?\n", re.DOTALL)
_MOST_UNPACKED = 16 << 20  # bytes of an object stream; common ones have 100 KB
#: Acrobat's pages have at most 14,400 points; 75,000 of them make 381 km.
_LARGEST = 75_000.0


def user_unit(data: bytes, page: int, passwords: tuple[str, ...]) -> float:
    """How many points a point of page `page` (1-based) is; 1 by default, or if nothing reads it."""
    if not _has_units(data):
        return 1.0
    from pipelines.pages.pdf.attachments import opened  # a second parser, 0.2 s to import

    try:
        with opened(data, passwords) as pdf:
            value = float(pdf.pages[page - 1].obj.get("/UserUnit", 1))
    except Exception:  # a parser can raise anything on malicious bytes; pdfium judges the file
        return 1.0
    return value if 0 < value <= _LARGEST else 1.0


@lru_cache(maxsize=1)  # consecutive pages of one document search it once
def _has_units(data: bytes) -> bool:
    """Whether any page has a UserUnit. The search takes 1 ms per 10 MB."""
    if _KEY in data or (b"/Encrypt" in data and b"/ObjStm" in data):
        return True
    return any(_KEY in _unpacked(data, found.end()) for found in _PACKED.finditer(data))


def _unpacked(data: bytes, start: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(
            memoryview(data)[start : start + _MOST_UNPACKED], _MOST_UNPACKED
        )
    except zlib.error:
        return b""
