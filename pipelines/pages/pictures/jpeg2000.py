"""JPEG 2000: what its header says, and samples of more than 8 bits as they are stored."""

from __future__ import annotations

import struct
from typing import NamedTuple

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.pictures.levels import Samples

#: Start of codestream, then the marker of its size (ISO 15444-1, A.5.1).
_CODESTREAM = b"\xff\x4f\xff\x51"
#: After the marker: length, capabilities, x1, y1, x0, y0, four numbers on tiles, channels, and the
#: depth of the first channel.
_SIZE = struct.Struct(">HH8LHB")
_MOST_CHANNELS = 4  # RGB and alpha, or CMYK


class Header(NamedTuple):
    """Of the codestream, which decides; the boxes around it may say otherwise.

    `bits`: of a sample. `signed`: whether samples are below 0.
    """

    width: int
    height: int
    channels: int
    bits: int
    signed: bool


def header(data: bytes) -> Header:
    """The first codestream's header. Raises ItemFailure(CORRUPT_IMAGE)."""
    at = data.find(_CODESTREAM)
    if at < 0 or len(data) < at + 4 + _SIZE.size:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "the JPEG 2000 file has no codestream")
    _, _, right, bottom, left, top, *_, channels, depth = _SIZE.unpack_from(data, at + 4)
    if right <= left or bottom <= top:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "the JPEG 2000 codestream has no size")
    return Header(right - left, bottom - top, channels, (depth & 0x7F) + 1, bool(depth & 0x80))


def refuse_many_channels(found: Header) -> None:
    """Raise UNSUPPORTED_KIND for more channels than colours and alpha."""
    if not 1 <= found.channels <= _MOST_CHANNELS:
        raise ItemFailure(
            FailureKind.UNSUPPORTED_KIND,
            f"JPEG 2000 with {found.channels} channels is not supported",
        )


def samples(data: bytes) -> Samples:
    """Samples (H, W) or (H, W, channels), with their own depth. Raises what the codec raises."""
    import imagecodecs

    decoded: Samples = imagecodecs.jpeg2k_decode(data)
    return decoded
