"""Pictures with more than 8 bits a sample, and TIFFs that Pillow does not read, to 8 bits."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike
from tifffile import TiffPage

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.pictures import colours, jpeg2000, tiff_samples
from pipelines.pages.pictures.levels import Samples, stretched
from pipelines.pages.pictures.picture import Picture

_FULL = 255


def deep_png(data: bytes, orientation: int, no_data: float | None) -> Picture:
    """A PNG of 16 bits a sample. `no_data`: its transparent gray. Raises CORRUPT_IMAGE."""
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "truncated or damaged PNG of 16 bits")
    alpha = None
    if samples.ndim == 3:
        if samples.shape[2] == 4:
            alpha = samples[..., 3]
        samples = samples[..., 2::-1]
    return _deep(samples, 16, alpha, orientation, no_data)


def deep_jpeg2000(data: bytes, header: jpeg2000.Header) -> Picture:
    """A JPEG 2000 of more than 8 bits, or with a sign: gray or RGB, with alpha or without."""
    samples, alpha = jpeg2000.samples(data), None
    if samples.ndim == 3:
        if samples.shape[2] in (2, 4):
            alpha = samples[..., -1]
        samples = samples[..., :3] if samples.shape[2] > 2 else samples[..., 0]
    return _deep(samples, header.bits, alpha, 1, None)


def tiff_page(page: TiffPage) -> Picture:
    """A page of a TIFF. Raises ItemFailure(UNSUPPORTED_KIND, CORRUPT_IMAGE), or what codecs do."""
    read = tiff_samples.channels(page)
    turn = tiff_samples.orientation(page)
    deep = read.bits > 8 or read.colours.dtype.kind in "if"
    if read.space in ("gray", "rgb") and deep:
        found = _deep(read.colours, read.bits, read.alpha, turn, read.no_data)
        return found._replace(pixels=255 - found.pixels) if read.inverted else found
    pixels = tiff_samples.as_bytes(read.colours, read.bits)
    pixels = 255 - pixels if read.inverted else pixels
    to_rgb = {"ycc": colours.rgb_of_ycc, "lab": colours.rgb_of_lab, "ink": colours.rgb_of_ink}
    pixels = to_rgb[read.space](pixels) if read.space in to_rgb else pixels
    alpha = None if read.alpha is None else tiff_samples.as_bytes(read.alpha, read.bits)
    return Picture(_finished(pixels, alpha, turn))


def _deep(
    samples: Samples, bits: int, alpha: Samples | None, turn: int, no_data: float | None
) -> Picture:
    seen = None if alpha is None else np.asarray(alpha > 0)
    result = stretched(samples, bits, no_data, seen)
    opaque = None
    if alpha is not None:
        top = float(alpha.max()) or 1.0  # as deep as the colours are, whatever the scale
        opaque = (np.clip(alpha / top, 0, 1) * _FULL).round().astype(np.uint8)
    return Picture(_finished(result.pixels, opaque, turn), (result.low, result.high))


def _finished(
    pixels: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8] | None, turn: int
) -> MatLike:
    return colours.bgr(colours.upright(colours.on_paper(pixels, alpha), turn))
