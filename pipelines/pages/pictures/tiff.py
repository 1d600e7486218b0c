"""Which frames of a TIFF are pages."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from tifffile import TiffFile, TiffPage

from actors.failures import FailureKind, ItemFailure

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it reports each odd tag on stderr

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_OLD_SUBFILE_TYPE, _OLD_REDUCED = 255, 2
_DNG_VERSION = 50706
_SENSOR = (32803, 34892)  # photometric: a camera's colour filter array, and its linear values


@lru_cache(maxsize=1)  # consecutive pages of one document parse it once
def pages(data: bytes) -> tuple[TiffPage, ...]:
    """The frames that are pages, in the order of the file; at least one.

    No pages are frames that say they are a smaller copy or a mask of another one, and the levels of
    a tiled pyramid. If all frames say so, they are pages: nothing else of them is left.
    Raises ItemFailure(CORRUPT_IMAGE, UNSUPPORTED_KIND).
    """
    try:
        # A page that reads from memory needs no open file.
        frames = [frame.aspage() for frame in TiffFile(io.BytesIO(data)).pages]
    except Exception as error:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, f"damaged TIFF: {error}") from error
    if not frames:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "the TIFF has no frames")
    _check_chain(data, frames)
    _refuse_camera_raw(frames[0])
    real = [frame for frame in frames if not _is_copy(frame)]
    return tuple(_without_levels(real or frames))


def _check_chain(data: bytes, frames: Sequence[TiffPage]) -> None:
    """Raise CORRUPT_IMAGE if the last frame points at another one, which tifffile did not find."""
    last, form = frames[-1], frames[-1].parent.tiff
    (count,) = struct.unpack_from(form.tagnoformat, data, last.offset)
    after = last.offset + form.tagnosize + count * form.tagsize
    pointer = data[after : after + form.offsetsize]
    # Some writers end the file without the pointer. A loop ends where it began.
    following = int.from_bytes(pointer, "little" if form.byteorder == "<" else "big")
    if following and following not in {frame.offset for frame in frames}:
        what = f"damaged TIFF: the frames after number {len(frames)} cannot be found"
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, what)


def _is_copy(frame: TiffPage) -> bool:
    if int(frame.subfiletype) & (_REDUCED | _MASK):
        return True
    return number_in(frame, _OLD_SUBFILE_TYPE, 1) == _OLD_REDUCED


def _without_levels(frames: Sequence[TiffPage]) -> Sequence[TiffPage]:
    """The frames without the levels of a pyramid, as slide scanners write them without a mark.

    A level is tiled as the first frame is, and its sides are those divided by a power of two.
    """
    first = frames[0]
    if not first.is_tiled or len(frames) < 2:
        return frames
    levels = {frame.index for frame in frames[1:] if frame.is_tiled and _divided(first, frame)}
    if first.is_svs:  # Aperio: thumbnail, label and overview follow the levels
        return [first]
    return [frame for frame in frames if frame.index not in levels]


def _divided(first: TiffPage, frame: TiffPage) -> bool:
    factor = first.imagewidth / max(frame.imagewidth, 1)
    power = 2 ** round(float(np.log2(max(factor, 1))))
    return power > 1 and all(
        abs(whole / power - part) <= 1
        for whole, part in (
            (first.imagewidth, frame.imagewidth),
            (first.imagelength, frame.imagelength),
        )
    )


def _refuse_camera_raw(first: TiffPage) -> None:
    """Raise UNSUPPORTED_KIND if the first frame is a preview and the picture lies elsewhere."""
    preview = int(first.subfiletype) & _REDUCED and first.subifds
    if first.tags.get(_DNG_VERSION) or preview or int(first.photometric) in _SENSOR:
        raise ItemFailure(
            FailureKind.UNSUPPORTED_KIND,
            "Camera raw (DNG, NEF, ARW or a like TIFF) is not supported",
        )


def number_in(page: TiffPage, code: int, otherwise: float) -> float:
    """The number in a tag; `otherwise` without the tag, or if it holds no number."""
    tag = page.tags.get(code)
    try:
        return float(tag.value) if tag else otherwise
    except (TypeError, ValueError):
        return otherwise
