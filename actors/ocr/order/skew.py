"""The skew of a page, from the boxes of its lines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Ratio of a line's sides from which its angle counts. That of a shorter one is noise: a word of
#: three letters, one pixel off, is two degrees off.
_LONG = 2.5
#: The angle of a page with few or short lines is uncertain: if it may be off by more than this, in
#: radians, it is chosen among this many angles, so that most lines side by side are aligned.
_UNSURE, _STEPS = 0.006, 25
#: Two lines side by side are aligned if they differ by about this share of a line's height.
_ALIGNED = 0.15
#: Lines of which pairs are compared, at most; a page with more has a sure angle.
_MOST = 400

Quads = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]


def page_angle(quads: Quads) -> float:
    """The skew of a page in radians, clockwise: median of its lines' angles.

    A tall line counts by its long sides. The weight of a line is the ratio of its sides, because
    the ends of a box are off by a share of its height.

    Args:
        quads: (N, 4, 2), clockwise from the top left, pixels; N may be 0. 0 without a long line.
    """
    if not len(quads):
        return 0.0
    along = quads[:, 1] + quads[:, 2] - quads[:, 0] - quads[:, 3]
    down = quads[:, 2] + quads[:, 3] - quads[:, 0] - quads[:, 1]
    lengths, heights = np.linalg.norm(along, axis=1), np.linalg.norm(down, axis=1)
    tall = heights > lengths
    side = np.where(tall[:, None], down[:, [1, 0]] * np.array([1, -1], np.float32), along)
    ratios = np.maximum(lengths, heights) / np.maximum(np.minimum(lengths, heights), 1.0)
    counts = ratios >= _LONG
    if not counts.any():
        return 0.0
    angles, weights = np.arctan2(side[counts, 1], side[counts, 0]), ratios[counts]
    angle = _median(angles, weights)
    # Twice the standard error of a median, by the median deviation (1.48 of it: one deviation).
    error = 2 * 1.25 * 1.48 * _median(np.abs(angles - angle), weights) / np.sqrt(len(angles))
    if error < _UNSURE or len(quads) > _MOST or tall.mean() > 0.5:
        return angle
    return angle + _correction(quads, angle, error)


def turned_back(quads: Quads, angle: float) -> Quads:
    """Quads (N, 4, 2), turned about the origin by minus `angle`, radians clockwise."""
    cos, sin = np.cos(angle), np.sin(angle)
    turned: Quads = quads @ np.array([[cos, -sin], [sin, cos]], np.float32)
    return turned


def _median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(summed, summed[-1] / 2)])


def _correction(quads: Quads, angle: float, most: float) -> float:
    """The angle of at most `most` that aligns the most lines side by side; the smallest of them."""
    boxes = turned_back(quads, angle)
    x0, x1 = boxes[:, :, 0].min(axis=1), boxes[:, :, 0].max(axis=1)
    x, y = boxes.mean(axis=1).T
    height = float(np.median(np.ptp(boxes[:, :, 1], axis=1)))
    dx, dy = x[None, :] - x[:, None], y[None, :] - y[:, None]
    near = (x1[:, None] < x0[None, :]) & (np.abs(dy) < height + most * dx)
    if not near.any():
        return 0.0
    dx, dy = dx[near], dy[near]
    angles = np.linspace(0, most, _STEPS // 2 + 1)[1:]
    angles = np.concatenate([[0.0], *([one, -one] for one in angles)])
    off = (dy[None, :] - angles[:, None] * dx[None, :]) / (_ALIGNED * height)
    return float(angles[np.exp(-(off**2)).sum(axis=1).argmax()])
