"""The samples of a TIFF page, for the forms that Pillow does not read, and which these are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tifffile import TIFF, TiffPage

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.pictures.levels import Samples
from pipelines.pages.pictures.tiff import number_in

_ORIENTATION, _GDAL_NODATA = 274, 42113
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INK, _YCC, _LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
_LARGEST_BYTE = 255
_JPEG_2000_YCC = 33003  # compression of Aperio's slides
#: None, fax (3), LZW, JPEG (2), deflate (2), PackBits, LZMA, Zstandard.
_CODECS_OF_PILLOW = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32946, 32773, 34925, 50000})
_CHANNELS = {_RGB: 3, _INK: 4, _YCC: 3, _LAB: 3, _ICC_LAB: 3}
_NAMES = {_RGB: "RGB", _INK: "CMYK", _YCC: "YCbCr", _LAB: "Lab", _ICC_LAB: "Lab"}


class Channels(NamedTuple):
    """Samples of a page, as they are stored.

    `colours`: (H, W), or (H, W, 3 or 4). `space`: `gray`, `rgb`, `ycc`, `lab` or `ink`. `inverted`:
    0 is white. `no_data`: the value of pixels without data, declared by GDAL.
    """

    colours: Samples
    alpha: Samples | None
    space: str
    bits: int
    inverted: bool
    no_data: float | None


def orientation(page: TiffPage) -> int:
    """The orientation tag: 1 to 8."""
    return int(number_in(page, _ORIENTATION, 1))


def is_bilevel(page: TiffPage) -> bool:
    """Whether the page is black and white, one bit a pixel."""
    gray = int(page.photometric) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    return gray and _bits(page) == 1 and page.samplesperpixel == 1


def reads_with_pillow(page: TiffPage) -> bool:
    """Whether Pillow reads the page right, if it opens it."""
    known = page.compression in _CODECS_OF_PILLOW and page.photometric != _ICC_LAB
    return known and not _is_deep(page)


def channels(page: TiffPage) -> Channels:
    """The page's samples. Raises ItemFailure(UNSUPPORTED_KIND, CORRUPT_IMAGE) or what codecs do."""
    _refuse_unread(page)
    _check_complete(page)
    samples = page.asarray(maxworkers=1)
    if page.samplesperpixel > 1 and page.planarconfig == 2:
        samples = np.moveaxis(samples, 0, -1)
    kind, bits = int(page.photometric), _bits(page)
    if kind == _PALETTE and page.colormap is not None:
        table = page.colormap >> (8 if page.colormap.max() > _LARGEST_BYTE else 0)
        colours = np.moveaxis(table.astype(np.uint8)[:, samples], 0, -1)
        return Channels(colours, None, "rgb", 8, False, None)
    if _three_bands(page):
        kind = _RGB
    count = _CHANNELS.get(kind, 1)
    alpha = _alpha(page, samples, count)
    if page.samplesperpixel > 1:
        samples = samples[..., 0] if count == 1 else samples[..., :count]
    space = "ycc" if page.compression == _JPEG_2000_YCC else _space(kind)
    if kind == _LAB:
        samples = samples ^ np.asarray([0, 1 << (bits - 1), 1 << (bits - 1)], samples.dtype)
    return Channels(samples, alpha, space, bits, kind == _WHITE_IS_ZERO, _no_data(page))


def as_bytes(samples: Samples, bits: int) -> npt.NDArray[np.uint8]:
    """The high 8 bits of unsigned samples; narrower ones are spread to 0..255."""
    if bits > 8:
        return (samples >> (bits - 8)).astype(np.uint8)
    return (samples.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)


def _is_deep(page: TiffPage) -> bool:
    return _bits(page) > 8 or page.sampleformat not in (1, 4)


def _bits(page: TiffPage) -> int:
    """Bits of the deepest channel; tifffile gives a tuple if they differ."""
    return int(np.max(page.bitspersample))


def _three_bands(page: TiffPage) -> bool:
    """GDAL writes colours of more than 8 bits as three bands of gray."""
    extra = [int(one) for one in page.extrasamples]
    return int(page.photometric) == _BLACK_IS_ZERO and extra == [0, 0]


def _space(kind: int) -> str:
    return {_RGB: "rgb", _INK: "ink", _YCC: "ycc", _LAB: "lab", _ICC_LAB: "lab"}.get(kind, "gray")


def _alpha(page: TiffPage, samples: Samples, count: int) -> Samples | None:
    extra = [int(one) for one in page.extrasamples]
    for place, kind in enumerate(extra, start=page.samplesperpixel - len(extra)):
        if kind in (1, 2) and place >= count:  # associated and unassociated alpha
            return np.asarray(samples[..., place])
    return None


def _no_data(page: TiffPage) -> float | None:
    value = number_in(page, _GDAL_NODATA, float("nan"))
    return value if np.isfinite(value) else None  # NaN and infinity are no data anyway


def _refuse_unread(page: TiffPage) -> None:
    kind, why = int(page.photometric), ""
    if page.compression not in TIFF.DECOMPRESSORS:
        why = f"compression {getattr(page.compression, 'name', page.compression)}"
    elif page.dtype is None or page.dtype.kind not in "buif":
        why = "samples that are no real numbers"
    elif kind == _PALETTE and page.colormap is None:
        why = "a palette that is missing"
    elif page.imagedepth > 1:
        why = "volumes"
    elif kind not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE, *_CHANNELS):
        why = f"photometric interpretation {kind}"
    elif page.samplesperpixel < _CHANNELS.get(kind, 1):
        why = f"{page.samplesperpixel} channels of {_NAMES[kind]}"
    elif (
        kind in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
        and page.samplesperpixel > 2
        and not _three_bands(page)
    ):
        why = f"{page.samplesperpixel} bands without colours"
    elif kind in (_YCC, _LAB, _ICC_LAB, _INK) and (_bits(page) > 16 or page.dtype.kind != "u"):
        why = f"{_NAMES[kind]} of {_bits(page)} bits"
    if why:
        raise ItemFailure(FailureKind.UNSUPPORTED_KIND, f"TIFF with {why} is not supported")


def _check_complete(page: TiffPage) -> None:
    """Raise CORRUPT_IMAGE if a strip or tile lies outside the file: tifffile would fill it."""
    size = page.parent.filehandle.size
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    # Both numbers are 0 for a tile of no-data that GDAL left out.
    if not places or any(at + long > size or (at and not long) for at, long in places):
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "truncated TIFF: picture data is missing")
