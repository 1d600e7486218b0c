"""Connected shapes in a picture that may be letters, and chains of neighbours."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from actors.ocr.pp_ocr.ink import CONTRAST

Ints = npt.NDArray[np.int64]

#: Pixels, at 144 dpi: strokes are thinner than this, so a closing or opening of it removes letters.
_STROKE = 17
#: A letter's ink has this share of the strongest contrast nearby. With 0.4, white letters on grass
#: grow together with it; with 0.6, small letters break.
_EDGE = 0.5
_LEAST_HEIGHT, _MOST_HEIGHT = 5, 80  # pixels: 5 pt capitals to 56 pt at 144 dpi
_MOST_WIDTH = 12  # heights: a word of a connected script
_LEAST_FILL = 0.12  # of a shape's box; less is a curve
#: Heights to the next letter. A word space has 0.6 x-heights, in justified text 1.2.
_GAP = 1.25
_MOST_RATIO = 2.2  # between the heights of neighbours: an x-height and a capital with a descender


class Shapes(NamedTuple):
    """Connected shapes: labels int32 (H, W), then int64 (n,) each; label 0 is the paper."""

    labels: MatLike
    x: Ints
    y: Ints
    width: Ints
    height: Ints
    area: Ints

    def letter_like(self) -> npt.NDArray[np.bool_]:
        """Mask (n,) of the shapes that may be letters by their size."""
        found = (
            (self.height >= _LEAST_HEIGHT)
            & (self.height <= _MOST_HEIGHT)
            & (self.width <= _MOST_WIDTH * self.height)
            & (self.area >= _LEAST_FILL * self.width * self.height)
        )
        found[0] = False
        return found

    def turned(self) -> Shapes:
        """With x and y exchanged: columns become rows."""
        labels = np.ascontiguousarray(self.labels.T)
        return Shapes(labels, self.y, self.x, self.height, self.width, self.area)


def shapes_in(gray: MatLike, outside: MatLike, operation: int) -> Shapes:
    """Strokes that are darker (BLACKHAT) or lighter (TOPHAT) than what is around them."""
    kernel = np.ones((_STROKE, _STROKE), np.uint8)
    contrast = cv2.morphologyEx(gray, operation, kernel)
    strongest = cv2.convertScaleAbs(cv2.dilate(contrast, kernel), alpha=_EDGE)
    least = np.maximum(strongest, np.uint8(CONTRAST))
    strokes = cv2.bitwise_and(cv2.compare(contrast, least, cv2.CMP_GT), outside)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    return Shapes(labels, *stats.T.astype(np.int64))


def _neighbours(shapes: Shapes, letter_like: npt.NDArray[np.bool_]) -> Ints:
    """For each shape, the first letter-like one to its right within `_GAP` heights; else itself."""
    labels, x, y, width, height, _ = shapes
    right = np.arange(len(x))
    edge = labels.shape[1] - 1
    low = _LEAST_HEIGHT
    while low <= _MOST_HEIGHT:  # shapes of one octave look equally far
        ids = np.flatnonzero(letter_like & (height >= low) & (height < 2 * low))
        reach = np.arange(1, int(_GAP * 2 * low) + 1)
        columns = np.minimum(x[ids, None] + width[ids, None] - 1 + reach, edge)
        near = reach <= np.ceil(_GAP * height[ids])[:, None]
        nearest = np.full(len(ids), len(reach))
        for part in (0.25, 0.5, 0.75):  # of the height
            rows = np.round(y[ids] + part * (height[ids] - 1)).astype(np.int64)
            seen = labels[rows[:, None], columns]
            seen = np.where(near & letter_like[seen] & (seen != ids[:, None]), seen, 0)
            first = (seen > 0).argmax(axis=1)
            other = seen[np.arange(len(ids)), first]
            high = np.maximum(height[ids], height[other])
            alike = high <= _MOST_RATIO * np.minimum(height[ids], height[other])
            hit = (other > 0) & alike & (first < nearest)
            nearest[hit] = first[hit]
            right[ids[hit]] = other[hit]
        low *= 2
    return right


def chains_of(shapes: Shapes) -> Ints:
    """For each shape (n,), the lowest label of its chain of letter-like neighbours."""
    right = _neighbours(shapes, shapes.letter_like())
    root = np.arange(len(right))
    while True:
        lowest = np.minimum(root, root[right])
        joined = lowest.copy()
        np.minimum.at(joined, right, lowest)
        joined = joined[joined]
        if (joined == root).all():
            return root
        root = joined
