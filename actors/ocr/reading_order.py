"""Reading order of text lines: rows from top to bottom, columns one after the other.

A variant of the XY-cut of Nagy and Seth (1984). Consecutive rows that share a vertical gutter form
a block of columns. A receipt also has a gutter, between labels and prices. Its right side is
narrow, so it is not a column block and is read row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Minimum width of a gutter, in line heights.
_GUTTER_HEIGHTS = 0.8
#: Minimum number of lines on each side of a gutter.
_COLUMN_LINES = 4
#: Minimum ratio of the median line widths of both sides. Labels and prices differ more.
_WIDTH_RATIO = 0.6


@dataclass(frozen=True)
class _Box:
    index: int
    x0: float
    x1: float
    y: float  # centre
    height: float


@dataclass(frozen=True)
class Placed:
    """The place of a line; see `actors.lines.LINE`.

    Attributes:
        index: of the line in the input.
        row: number of its row, from 0 in reading order.
        column: number of its column, from 0 at the left.
    """

    index: int
    row: int
    column: int


def reading_order(
    polygons: npt.NDArray[np.float32], texts: Sequence[str] | None = None
) -> list[Placed]:
    """The lines of a page in reading order.

    Args:
        polygons: (N, 4, 2), clockwise from the top left, pixels.
        texts: of the N lines, as further evidence; None: unknown.
    """
    if not len(polygons):
        return []
    low, high = polygons.min(axis=1), polygons.max(axis=1)
    boxes = [
        _Box(i, float(a[0]), float(b[0]), float((a[1] + b[1]) / 2), float(b[1] - a[1]))
        for i, (a, b) in enumerate(zip(low, high, strict=True))
    ]
    return [Placed(box.index, row, 0) for row, box in enumerate(_ordered(_rows(boxes)))]


def _rows(boxes: Sequence[_Box]) -> list[list[_Box]]:
    """Group boxes into rows, each sorted from left to right.

    The centre of a box is within half a line height of its row's centre.
    """
    rows: list[list[_Box]] = []
    for box in sorted(boxes, key=lambda b: b.y):
        if rows:
            row = rows[-1]
            centre = sum(b.y for b in row) / len(row)
            if box.y - centre < 0.5 * min(box.height, max(b.height for b in row)):
                row.append(box)
                continue
        rows.append([box])
    return [sorted(row, key=lambda b: b.x0) for row in rows]


def _ordered(rows: list[list[_Box]]) -> list[_Box]:
    out: list[_Box] = []
    start = 0
    while start < len(rows):
        end, gutter = _column_block(rows, start)
        if gutter is None:
            out += rows[start]
            start += 1
            continue
        block = [box for row in rows[start:end] for box in row]
        out += _ordered(_rows([b for b in block if b.x1 <= gutter]))
        out += _ordered(_rows([b for b in block if b.x1 > gutter]))
        start = end
    return out


def _column_block(rows: list[list[_Box]], start: int) -> tuple[int, float | None]:
    """The longest run of rows from `start` with a common gutter: (end, its x), or (start, None)."""
    height = float(np.median([box.height for row in rows for box in row]))
    gaps: list[tuple[float, float]] = [(-np.inf, np.inf)]
    best: tuple[int, float | None] = (start, None)
    for end in range(start, len(rows)):
        for box in rows[end]:
            gaps = _without(gaps, box.x0, box.x1, _GUTTER_HEIGHTS * height)
        inner = [gap for gap in gaps if np.isfinite(gap[0]) and np.isfinite(gap[1])]
        if not inner and end > start + 1:
            break
        for gap in inner:
            middle = (gap[0] + gap[1]) / 2
            if _are_columns([box for row in rows[start : end + 1] for box in row], middle):
                best = (end + 1, middle)
    return best


def _without(
    gaps: list[tuple[float, float]], x0: float, x1: float, least: float
) -> list[tuple[float, float]]:
    pieces = [p for a, b in gaps for p in ((a, min(b, x0)), (max(a, x1), b))]
    return [(a, b) for a, b in pieces if b - a >= least]


def _are_columns(boxes: Sequence[_Box], gutter: float) -> bool:
    left = [b for b in boxes if b.x1 <= gutter]
    right = [b for b in boxes if b.x1 > gutter]
    if min(len(left), len(right)) < _COLUMN_LINES:
        return False
    widths = [float(np.median([b.x1 - b.x0 for b in side])) for side in (left, right)]
    return min(widths) >= _WIDTH_RATIO * max(widths)
