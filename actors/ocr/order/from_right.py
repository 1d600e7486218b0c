"""Pages whose lines are read from right to left: Arabic, Hebrew."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_FROM_RIGHT = ("R", "AL")


def from_right(texts: Sequence[str]) -> bool:
    """Whether most letters of a page run from right to left (Unicode's bidirectional classes)."""
    classes = [unicodedata.bidirectional(char) for text in texts for char in text]
    right = sum(name in _FROM_RIGHT for name in classes)
    return right > classes.count("L")


def mirrored(polygons: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Polygons (N, 4, 2) as in a mirror: the right side is the left one, corners stay clockwise."""
    flipped: npt.NDArray[np.float32] = polygons[:, [1, 0, 3, 2]] * np.array([-1, 1], np.float32)
    return flipped
