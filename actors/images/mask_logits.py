"""Converts mask logits of a segmenter to run lengths at the image's size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from actors.images.rle import Rle, from_edges

#: Maximum up-sampled pixels on the device: 134 MB as float32, 34 MB as bool, 34 MB as edges.
DEVICE_PIXELS = 1 << 25


def encode(logits: Sequence[Tensor], height: int, width: int) -> list[Rle]:
    """Up-sample, threshold at 0 and encode the masks of one image.

    Args:
        logits: (h, w) each, any float type, all on one device; bilinear, half-pixel centres.
        height, width: size of the upright image, pixels.

    Returns:
        One RLE per mask. NaN is background.

    On a CPU it uses OpenCV's resize: 256 x 256 to 1080 x 1920 takes 1.6 ms (one thread), torch
    takes 12. The results differ by at most 5e-5, which changes 0 to 3 of 2,073,600 pixels. On a GPU
    only the edges of the runs are copied to the host. Raises torch.OutOfMemoryError.
    """
    if not logits:
        return []
    if logits[0].device.type == "cpu":
        return [_on_host(one.float().numpy(), height, width) for one in logits]
    return on_device(torch.stack(list(logits)), height, width)


def _on_host(logits: npt.NDArray[np.float32], height: int, width: int) -> Rle:
    # Run lengths go down the columns. After the transposition the memory is in this order.
    columns = np.ascontiguousarray(logits.T)
    upsampled = cv2.resize(columns, (height, width), interpolation=cv2.INTER_LINEAR)
    mask = np.greater(upsampled, 0).ravel()
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    return from_edges(edges, bool(mask[0]), height, width)


def on_device(logits: Tensor, height: int, width: int, held: int = DEVICE_PIXELS) -> list[Rle]:
    """`encode` for logits (n, h, w) on any device, with at most `held` up-sampled pixels."""
    chunk = max(1, held // (height * width))
    return [
        rle for part in torch.split(logits, chunk) for rle in _chunk_on_device(part, height, width)
    ]


def _chunk_on_device(logits: Tensor, height: int, width: int) -> list[Rle]:
    columns = logits.float().transpose(1, 2).unsqueeze(1)
    upsampled = F.interpolate(columns, (width, height), mode="bilinear", align_corners=False)
    masks = (upsampled > 0).flatten(1)
    del upsampled
    rows, edges = (masks[:, 1:] != masks[:, :-1]).nonzero(as_tuple=True)
    ends = torch.bincount(rows, minlength=len(masks)).cumsum(0)[:-1].cpu().numpy()
    per_mask = np.split(edges.cpu().numpy() + 1, ends)
    starts = masks[:, 0].cpu().tolist()
    return [
        from_edges(edges, start, height, width)
        for edges, start in zip(per_mask, starts, strict=True)
    ]
