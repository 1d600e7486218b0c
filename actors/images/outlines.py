"""Finds the runs of an up-sampled mask from the samples along its outline.

A bilinear sample is a weighted mean of four logits. Where all four are above 0 the pixel is inside;
where none is, it is outside. Only cells with both signs are up-sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actors.images.rle import Ints

Bits = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

#: If the outline's cells have more than this share of the image's pixels, as in noise, all pixels
#: are computed, in steps of at most `STEP`: 3 ns each, 15 ns along an outline.
OUTLINE_SHARE = 1 / 16
STEP = 1 << 19


@dataclass(frozen=True)
class Taps:
    """Bilinear interpolation along one side, half-pixel centres.

    Pixel n is ``source[low[n]] * (1 - weight[n]) + source[high[n]] * weight[n]``.
    """

    low: Ints
    high: Ints
    weight: Floats

    @staticmethod
    def of(source: int, target: int) -> Taps:
        """From `source` to `target` samples, without smoothing where `target` is smaller."""
        places = (np.arange(target) + 0.5) * (source / target) - 0.5
        places = places.clip(0, source - 1)
        low = places.astype(np.int64)
        return Taps(low, np.minimum(low + 1, source - 1), (places - low).astype(np.float32))

    def __getitem__(self, part: slice) -> Taps:
        return Taps(self.low[part], self.high[part], self.weight[part])

    def near(self, marked: Bits) -> slice:
        """The shortest part with all pixels that read a marked sample, and one more on each side.

        `marked`: bool (source,), with at least one true.
        """
        found = np.flatnonzero(marked[self.low] | marked[self.high])
        if not len(found):  # a smaller target skips samples
            return slice(0, 0)
        return slice(max(0, found[0] - 1), min(len(self.low), found[-1] + 2))


def mean(one: Floats, other: Floats, weight: Floats) -> Floats:
    """Weighted mean: `weight` of `other`, the rest of `one`."""
    return one * (1 - weight) + other * weight


def edges(logits: Floats, height: int, width: int, outline_share: float = OUTLINE_SHARE) -> Ints:
    """Run starts of a mask up-sampled to height x width and thresholded at 0.

    Args:
        logits: (h, w). NaN is background, and so is every pixel that reads it.

    Returns:
        int64 (n,): ascending pixel numbers in column-major order at which inside and outside
        change; before pixel 0 is outside.
    """
    positive: Bits = logits > 0
    if not positive.any():
        return np.empty(0, np.int64)
    across, down = Taps.of(logits.shape[1], width), Taps.of(logits.shape[0], height)
    columns, rows = across.near(positive.max(0)), down.near(positive.max(1))
    if columns.start == columns.stop or rows.start == rows.stop:
        return np.empty(0, np.int64)
    across, down = across[columns], down[rows]
    # Rows of pixels, columns of logits.
    lines = mean(logits[down.low], logits[down.high], down.weight[:, None])
    found = _inner_edges(lines, across, height * width * outline_share)
    x, y = found[0] + columns.start, found[1] + rows.start
    tops, bottoms = (_row(lines[end], across, columns, width) for end in (0, -1))
    if rows.start:
        tops[:] = False
    if rows.stop < height:
        bottoms[:] = False
    turns = np.flatnonzero(tops != np.concatenate([[False], bottoms[:-1]]))
    return np.sort(np.concatenate([x * height + y, turns * height]))


def _row(line: Floats, across: Taps, columns: slice, width: int) -> Bits:
    """One row of the mask (width,)."""
    row = np.zeros(width, np.bool_)
    row[columns] = mean(line[across.low], line[across.high], across.weight) > 0
    return row


def _inner_edges(lines: Floats, across: Taps, most: float) -> tuple[Ints, Ints]:
    """x and y of pixels that differ from the pixel above them, in any order, y from 1 on.

    Args:
        lines: (rows of pixels, columns of logits).
        most: pixels to compute along the outline; if there are more, all are computed.
    """
    strips = _Strips.of(across)
    inside = lines > 0
    low, high = inside[:, _sliced(strips.low)], inside[:, _sliced(strips.high)]
    mixed = low != high
    y, strip = _places((low[1:] != low[:-1]) | mixed[1:] | mixed[:-1])
    if len(y) * strips.weight.shape[1] > most:
        return _all_edges(lines, across)
    left, right, weight = strips.low[strip], strips.high[strip], strips.weight[strip]
    above, below = (
        mean(lines[at, left, None], lines[at, right, None], weight) > 0 for at in (y, y + 1)
    )
    place, column = _places(above != below)
    return strips.start[strip[place]] + column, y[place] + 1


@dataclass(frozen=True)
class _Strips:
    """Groups of pixels that lie between the same two columns of logits.

    Attributes:
        start: int64 (n,), first pixel of each strip.
        low, high: int64 (n,), the two columns.
        weight: float32 (n, widest strip), of `high`; NaN beyond a strip's end, which is outside.
    """

    start: Ints
    low: Ints
    high: Ints
    weight: Floats

    @staticmethod
    def of(across: Taps) -> _Strips:
        start = np.flatnonzero(np.diff(across.low, prepend=-1))
        count = np.diff(start, append=len(across.low))
        weight = np.full((len(start), count.max()), np.nan, np.float32)
        weight[np.arange(count.max()) < count[:, None]] = across.weight
        return _Strips(start, across.low[start], across.high[start], weight)


def _sliced(index: Ints) -> Ints | slice:
    """Consecutive indices as a slice, which reads without a copy."""
    return slice(index[0], index[-1] + 1) if (np.diff(index) == 1).all() else index


def _places(marked: Bits) -> tuple[Ints, Ints]:
    """Rows and columns of the true elements; faster than `nonzero` if there are few."""
    found = np.flatnonzero(marked)
    return np.divmod(found, marked.shape[1])


def _all_edges(lines: Floats, across: Taps) -> tuple[Ints, Ints]:
    """`_inner_edges`, with all pixels computed."""
    step = max(1, STEP // len(lines))
    upright = np.ascontiguousarray(lines.T)
    found = []
    for start in range(0, len(across.low), step):
        part = across[start : start + step]
        mask = mean(upright[part.low], upright[part.high], part.weight[:, None]) > 0
        x, y = _places(mask[:, 1:] != mask[:, :-1])
        found.append((x + start, y + 1))
    return np.concatenate([x for x, _ in found]), np.concatenate([y for _, y in found])
