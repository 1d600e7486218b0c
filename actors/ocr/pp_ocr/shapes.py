"""A short list of tensor sizes.

Each new shape costs OpenVINO 25 ms and 7 MB (recogniser) or 90 ms and 10 MB (detector) on one core,
and the memory is not freed. Pages and lines are therefore resized to the nearest size of a
geometric list. This changes the scale by a few per cent and leaves the error rate unchanged.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import pairwise


class SizeList:
    """Multiples of `step` pixels, growing by a factor of `ratio`, or by `step` if that is more."""

    def __init__(self, step: int, ratio: float, largest: int) -> None:
        sizes = [step]
        while sizes[-1] < largest:
            sizes.append(max(sizes[-1] + step, round(sizes[-1] * ratio / step) * step))
        self.sizes = sizes
        self._bounds = [math.sqrt(a * b) for a, b in pairwise(sizes)]

    def nearest(self, pixels: float) -> int:
        """The size whose ratio to `pixels` is closest to 1."""
        return self.sizes[bisect_left(self._bounds, pixels)]


#: Widths of lines that are 48 pixels high. From 144 pixels on the error is at most 6 %.
LINE_WIDTHS = SizeList(step=16, ratio=1.12, largest=4800)
#: Sides of a detector input: multiples of 32, because it halves its input five times. The error
#: is at most 6 %.
PAGE_SIDES = SizeList(step=32, ratio=1.12, largest=32768)
