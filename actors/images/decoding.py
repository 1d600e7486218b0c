"""Decodes image files to RGB pixels: OpenCV where its pixels equal Pillow's, else Pillow."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from actors.failures import FailureKind, ItemFailure, said

#: uint8 (height, width, 3), RGB.
Pixels = npt.NDArray[np.uint8]

_RGB_AS_IT_LIES = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
#: Flags of OpenCV for a JPEG at 1, 1/2, 1/4 or 1/8 of its sides; `GRAYSCALE` is the lack of a flag.
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


@contextmanager
def _faults_named() -> Iterator[None]:
    """Turn Pillow's errors into ItemFailures: OSError, SyntaxError, ValueError, struct.error ..."""
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ItemFailure(FailureKind.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, said(error)) from error


def opened(data: bytes) -> Image.Image:
    """The header of an image file. Raises ItemFailure(CORRUPT_IMAGE, TOO_MANY_PIXELS)."""
    with _faults_named():
        return Image.open(io.BytesIO(data))


def decoded(file: Image.Image, data: bytes, need: tuple[int, int] | None = None) -> Pixels:
    """The pixels of `data`, whose header is `file`. Raises ItemFailure(CORRUPT_IMAGE).

    Args:
        need: height and width that suffice; a JPEG is then decoded at 1/2, 1/4 or 1/8 of its sides
            (rounded up) if they are not smaller. None: the full size.

    OpenCV decodes JPEG (gray, RGB) and PNG of 8 bits to the pixels that Pillow gives, bit by bit:
    12 megapixels of JPEG take 35 to 75 ms, with Pillow 125 to 180 (one thread). Pillow decodes all
    other files, and decides about a file that OpenCV refuses. One kind of damage passes, which
    Pillow refuses: a JPEG with all of its scans and a damaged end marker.
    """
    pixels, by = None, 1
    if _same_in_opencv(file, data):
        by = _reduction(file, need) if need else 1
        pixels = _by_opencv(data, by)
    if pixels is None or pixels.shape[:2] != (-(-file.height // by), -(-file.width // by)):
        with _faults_named():
            pixels = np.array(file.convert("RGB"))
    return pixels


def rgb(data: bytes, side: int | None = None) -> Image.Image:
    """The pixels of an encoded image, RGB. Raises ItemFailure(CORRUPT_IMAGE, TOO_MANY_PIXELS).

    Args:
        data: an image file in a format of Pillow.
        side: sufficient side in pixels; a JPEG is decoded at 1/2, 1/4 or 1/8 if that suffices.
    """
    file = opened(data)
    if side is None:
        return Image.fromarray(decoded(file, data))
    with _faults_named():
        file.draft("RGB", (side, side))
        return file.convert("RGB")


def plain_jpeg(file: Image.Image) -> bool:
    """Whether this is a JPEG of gray or RGB pixels."""
    return file.format in ("JPEG", "MPO") and file.mode in ("L", "RGB")


def _same_in_opencv(file: Image.Image, data: bytes) -> bool:
    """Whether OpenCV decodes this kind of file to the same pixels as Pillow."""
    if file.format in ("JPEG", "MPO"):
        return plain_jpeg(file)
    if file.format != "PNG" or getattr(file, "n_frames", 1) > 1:
        return False
    return data[24] == 8 and "transparency" not in file.info  # bits per sample, in the header chunk


def _reduction(file: Image.Image, need: tuple[int, int]) -> int:
    """By how much the sides of this file may be divided."""
    if file.format == "PNG":
        return 1
    rest = min(file.height / need[0], file.width / need[1])
    return max(by for by in _REDUCED if by <= max(rest, 1))


def _by_opencv(data: bytes, by: int = 1) -> Pixels | None:
    """The pixels, with the sides divided by 1, 2, 4 or 8; None if OpenCV refuses the file."""
    try:
        flags = _REDUCED[by] | _RGB_AS_IT_LIES
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)
