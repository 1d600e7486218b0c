"""A mask as one polygon, for formats without masks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from actors.images.rle import RleValue, decoded

Points = npt.NDArray[np.int32]  # (n, 2), x and y of pixels


def outline(rle: RleValue) -> list[tuple[int, int]]:
    """The outer contour of a mask, x and y of its pixels; empty if no part has an area.

    Parts are joined by lines without width, largest part first. Holes are filled.
    """
    pixels = decoded(rle).view(np.uint8)
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    parts = [np.asarray(contour[:, 0], np.int32) for contour in contours if len(contour) > 2]
    if not parts:
        return []
    parts.sort(key=cv2.contourArea, reverse=True)
    whole = parts[0]
    for part in parts[1:]:
        whole = _bridged(whole, part)
    return [(int(x), int(y)) for x, y in whole]


def _bridged(whole: Points, part: Points) -> Points:
    """`whole` with a detour to `part`, around it, and back the same way."""
    here = _nearest(whole, part.mean(axis=0))
    there = _nearest(part, whole[here])
    here = _nearest(whole, part[there])
    around = np.roll(part, -there, axis=0)
    joined: Points = np.concatenate([whole[: here + 1], around, around[:1], whole[here:]])
    return joined


def _nearest(points: Points, to: npt.NDArray[Any]) -> int:
    return int(np.square(points - to).sum(axis=1).argmin())
