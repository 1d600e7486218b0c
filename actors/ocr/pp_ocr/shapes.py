"""A short list of tensor sizes.

Every shape that OpenVINO has not met yet costs 25 ms and 7 MB (recogniser) or 90 ms and 10 MB
(detector) on one core, and the memory stays. So pages and lines are resized to the nearest size
of a geometric list: a change of scale of a few per cent, which the error rate does not notice.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise


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


#: Widths of a line, 48 pixels high; 6 % off at most from 144 pixels on.
LINE_WIDTHS = SizeList(step=16, ratio=1.12, largest=4800)
#: Sides of a detector input, multiples of 32 as its five halvings want; 6 % off at most.
PAGE_SIDES = SizeList(step=32, ratio=1.12, largest=32768)
