"""Prototypes and coefficients of a YOLO -> run lengths at the size of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from actors.images.letterbox import Letterbox
from actors.images.mask_logits import encode
from actors.images.rle import Rle, cut

#: Up-sampled pixels held at once: 16 MB as float32. A mask of a 640 px input has 410,000 at most.
HELD_PIXELS = 1 << 22


def masks_of(
    coefficients: Tensor, prototypes: Tensor, frame: Letterbox, boxes: Sequence[Sequence[float]]
) -> list[Rle]:
    """One mask per instance: the library's `retina_masks=True` (`ops.process_mask_native`).

    A mask's logits are the sum of the prototypes, weighted. They are up-sampled until the grey
    border ends at a whole pixel, cut there, up-sampled to the image, thresholded, and cut at the
    box: outside of it a prototype mask means nothing.

    Args:
        coefficients: float32 (n, k).
        prototypes: float32 (k, h, w), the model's input by 4, on the same device.
        frame: where the image lies in the input.
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
    """The least up-sampling that puts the ends of the image on whole pixels, `stride` at most."""
    ends = (*frame.offset, *frame.size)
    return stride // math.gcd(stride, *ends)


def _without_border(logits: Tensor, frame: Letterbox, factor: int) -> Tensor:
    if factor > 1:
        logits = F.interpolate(logits[:, None], scale_factor=factor, mode="bilinear")[:, 0]
    pixels = frame.padded[0] // logits.shape[1]  # of the model's input, per pixel of the logits
    top, left, height, width = (side // pixels for side in (*frame.offset, *frame.size))
    return logits[:, top : top + height, left : left + width]
