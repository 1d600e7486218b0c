"""A short list of tensor sizes.

Every shape that OpenVINO has not met yet costs 25 ms and 4 MB (recogniser) or 90 ms and 10 MB
(detector) on one core, and the memory stays. So pages and lines are resized to the nearest size
of a geometric list: a change of scale of a few per cent, which the error rate does not notice.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  #: [height, width, 3] BGR


class SizeList:
    """Multiples of `step` pixels, each at most `ratio` times the one before it once above it."""

    def __init__(self, step: int, ratio: float, largest: int) -> None:
        sizes = [step]
        while sizes[-1] < largest:
            sizes.append(max(sizes[-1] + step, round(sizes[-1] * ratio / step) * step))
        self.sizes = sizes
        self._bounds = [math.sqrt(a * b) for a, b in pairwise(sizes)]

    def nearest(self, pixels: float) -> int:
        """The size whose ratio to `pixels` is closest to 1."""
        return self.sizes[bisect_left(self._bounds, pixels)]


#: widths of a line strip, 48 px high; 6 % off at most from 144 px on
LINE_WIDTHS = SizeList(step=16, ratio=1.12, largest=4800)
#: sides of a detector input, multiples of 32 as its five halvings want; 6 % off at most
PAGE_SIDES = SizeList(step=32, ratio=1.12, largest=32768)


def detector_size(height: int, width: int, megapixels: float) -> tuple[int, int]:
    """Height and width at which to look for lines: the page's own, or fewer pixels, never more
    than 12 % above `megapixels`."""
    scale = min(1.0, math.sqrt(megapixels * 1e6 / (height * width)))
    return PAGE_SIDES.nearest(height * scale), PAGE_SIDES.nearest(width * scale)


class Pyramid:
    """A page and its halvings, made when asked for.

    Bilinear sampling at less than half the size skips pixels and frays thin strokes; a halving
    by 2 x 2 means costs 0.5 ms per megapixel, a tenth of one area-weighted resize of the page.
    """

    def __init__(self, page: Pixels) -> None:
        self._levels = [page]

    def level(self, shrink: float) -> tuple[Pixels, int]:
        """The smallest halving that is at least 1 / `shrink` of the page, and its divisor."""
        k = max(0, math.floor(math.log2(max(shrink, 1.0))))
        while len(self._levels) <= k:
            last = self._levels[-1]
            half = (max(1, last.shape[1] // 2), max(1, last.shape[0] // 2))
            self._levels.append(cv2.resize(last, half, interpolation=cv2.INTER_LINEAR))
        return self._levels[k], 2**k

    def resized(self, height: int, width: int) -> Pixels:
        """The page at exactly `height` x `width`, contiguous."""
        page = self._levels[0]
        source, _ = self.level(min(page.shape[0] / height, page.shape[1] / width))
        return cv2.resize(source, (width, height), interpolation=cv2.INTER_LINEAR)
