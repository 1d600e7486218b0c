"""Decoded channels to an upright gray or BGR picture on white paper."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

Bytes = npt.NDArray[np.uint8]

#: By the tag or EXIF orientation: how the stored picture is turned.
_UPRIGHT: dict[int, Callable[[Bytes], Bytes]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def upright(pixels: Bytes, orientation: int) -> Bytes:
    """`pixels` (H, W) or (H, W, C), turned by an orientation of TIFF or EXIF (1 to 8)."""
    turn = _UPRIGHT.get(orientation)
    return np.ascontiguousarray(turn(pixels)) if turn else pixels


def on_paper(pixels: Bytes, alpha: Bytes | None) -> Bytes:
    """`pixels` (H, W) or (H, W, 3) over white. `alpha`: (H, W), 255 is opaque."""
    if alpha is None:
        return pixels
    weight = alpha.astype(np.uint16).reshape(*alpha.shape, *(1,) * (pixels.ndim - 2))
    mixed = pixels * weight + 255 * (255 - weight)
    return ((mixed + 127) // 255).astype(np.uint8)


def bgr(rgb: Bytes) -> MatLike:
    """BGR of RGB (H, W, 3); gray (H, W) as it is."""
    return rgb if rgb.ndim == 2 else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def rgb_of_ink(cmyk: Bytes) -> Bytes:
    """RGB (H, W, 3) of inks (H, W, 4), 255 is full ink. As Pillow: without a colour profile."""
    ink, black = cmyk[..., :3].astype(np.uint16), cmyk[..., 3:].astype(np.uint16)
    return ((255 - ink) * (255 - black) // 255).astype(np.uint8)


def rgb_of_lab(lab: Bytes) -> Bytes:
    """RGB (H, W, 3) of CIE Lab in 8 bits; a and b with 128 as zero."""
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.uint8)


def rgb_of_ycc(ycc: Bytes) -> Bytes:
    """RGB (H, W, 3) of JPEG's YCbCr (H, W, 3)."""
    return np.asarray(cv2.cvtColor(ycc[..., [0, 2, 1]], cv2.COLOR_YCrCb2RGB), np.uint8)
