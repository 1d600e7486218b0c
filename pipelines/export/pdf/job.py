"""Messages between an export and the sandbox that makes its PDFs: a JSON object and bytes.

A sandbox takes a document and returns a page; `packed` packs both parts into either of them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

_LENGTH = struct.Struct(">Q")


def packed(header: Mapping[str, Any], body: bytes) -> bytes:
    """Pack a JSON object and bytes into one byte string."""
    head = json.dumps(header).encode()
    return _LENGTH.pack(len(head)) + head + body


def unpacked(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The inverse of `packed`. Raises ValueError."""
    if len(data) < _LENGTH.size:
        raise ValueError("too short")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    header: dict[str, Any] = json.loads(data[_LENGTH.size : end])
    return header, data[end:]
