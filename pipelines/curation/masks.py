"""Convert masks of whole images to FiftyOne's masks of boxes, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from actors.images.rle import Bits, RleValue, decoded, encoded


def _edges(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the pixels that a box touches; at least one pixel."""
    x0, x1 = _span(box[0], box[2], width)
    y0, y1 = _span(box[1], box[3], height)
    return x0, y0, x1, y1


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    start = min(max(math.floor(low), 0), length - 1)
    return start, max(min(math.ceil(high), length), start + 1)


def cropped(rle: RleValue, box: Sequence[float]) -> Bits:
    """The part of a mask inside its box, as FiftyOne stores it.

    `box`: x0, y0, x1, y1 in pixels of the image. Returns (height, width) of the pixels that the
    box touches. Pixels outside are dropped.
    """
    height, width = rle["size"]
    x0, y0, x1, y1 = _edges(box, width, height)
    return np.ascontiguousarray(decoded(rle)[y0:y1, x0:x1])


def whole(mask: Bits, box: Sequence[float], width: int, height: int) -> RleValue:
    """The mask of a box at the size of its image.

    The inverse of `cropped`. A mask of another resolution is scaled to the box (nearest pixel).
    """
    x0, y0, x1, y1 = _edges(box, width, height)
    image = Image.fromarray(np.asarray(mask > 0, np.uint8))
    fitted = image.resize((x1 - x0, y1 - y0), Image.Resampling.NEAREST)
    canvas = np.zeros((height, width), np.uint8, order="F")
    canvas[y0:y1, x0:x1] = np.asarray(fitted)
    return encoded(canvas)


def mask_of(detection: Any) -> Bits | None:
    """The mask of a detection, or None."""
    mask = detection.get_mask()
    return None if mask is None else np.asarray(mask > 0)
