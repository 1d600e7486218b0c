"""Converts YOLO's mask prototypes and coefficients to run lengths at the image's size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from actors.images.letterbox import Letterbox
from actors.images.mask_logits import encode
from actors.images.rle import Rle, cut

#: Maximum up-sampled pixels in memory: 16 MB as float32. A mask at 640 px has at most 410,000.
HELD_PIXELS = 1 << 22


def masks_of(
    coefficients: Tensor, prototypes: Tensor, frame: Letterbox, boxes: Sequence[Sequence[float]]
) -> list[Rle]:
    """One mask per instance, as `retina_masks=True` of ultralytics (`ops.process_mask_native`).

    Mask logits are a weighted sum of the prototypes. They are up-sampled until the grey border ends
    at a full pixel, cropped there, up-sampled to the image and thresholded. They are then cropped
    to the box, because a prototype mask is meaningless outside it.

    Args:
        coefficients: float32 (n, k).
        prototypes: float32 (k, h, w), a quarter of the input's size, on the same device.
        frame: position of the image in the input.
        boxes: n of x0, y0, x1, y1, pixels of the image.

    Raises torch.OutOfMemoryError.
    """
    channels, high, wide = prototypes.shape
    factor = _factor(frame, frame.padded[0] // high)
    at_once = max(1, HELD_PIXELS // (factor * factor * high * wide))
    rles: list[Rle] = []
    for part in coefficients.split(at_once):
        logits = (part @ prototypes.reshape(channels, -1)).view(-1, high, wide)
        rles += encode(list(_without_border(logits, frame, factor)), frame.height, frame.width)
    return [cut(rle, box) for rle, box in zip(rles, boxes, strict=True)]


def _factor(frame: Letterbox, stride: int) -> int:
    """The smallest up-sampling that puts the image's edges on full pixels, at most `stride`."""
    ends = (*frame.offset, *frame.size)
    return stride // math.gcd(stride, *ends)


def _without_border(logits: Tensor, frame: Letterbox, factor: int) -> Tensor:
    if factor > 1:
        logits = F.interpolate(logits[:, None], scale_factor=factor, mode="bilinear")[:, 0]
    pixels = frame.padded[0] // logits.shape[1]  # input pixels per pixel of the logits
    top, left, height, width = (side // pixels for side in (*frame.offset, *frame.size))
    return logits[:, top : top + height, left : left + width]
