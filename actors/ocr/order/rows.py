"""Boxes to rows, and the cells of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from actors.ocr.order.boxes import Box, median_height

#: Largest distance of the middles of two boxes in a row, in heights of the lower one.
_OFF = 0.5
#: Largest overlap in x of two boxes in a row, as a share of the narrower one. Detected boxes are a
#: little wider than their text.
_OVERLAP = 0.3
#: What a gap of one line height costs beside an offset of one height: a neighbour comes first, so
#: that a row follows bent paper.
_GAP_COST = 0.01
#: A gap of this many line heights parts cells. A blank is about 0.3 high.
_CELL_GAP = 1.0
#: A narrower gap parts cells if it is in neighbouring rows, too: lowest width, rows looked at on
#: both sides, and rows that must have it.
_SHARED_GAP, _NEAR, _SHARED_BY = 0.3, 3, 2
#: Rows of a single cell that end a table.
_TABLE_END = 3

Row = list[Box]
#: A range of x, pixels.
Gap = tuple[float, float]


@dataclass(frozen=True)
class Cell:
    """A box with its column; boxes of a row with the same column are one cell."""

    box: Box
    column: int


def rows_of(boxes: Sequence[Box]) -> list[Row]:
    """Rows from top to bottom, each from left to right.

    The nearest boxes are joined first. Boxes above each other are never in one row.
    """
    groups: list[Row] = [[box] for box in boxes]
    group_of = list(range(len(boxes)))
    for one, other in _pairs(boxes):
        a, b = group_of[one], group_of[other]
        if a == b or any(_above_each_other(p, q) for p in groups[a] for q in groups[b]):
            continue
        groups[a] += groups[b]
        groups[b] = []
        group_of = [a if group == b else group for group in group_of]
    rows = [sorted(group, key=lambda box: box.x0) for group in groups if group]
    return sorted(rows, key=lambda row: sum(box.y for box in row) / len(row))


def _pairs(boxes: Sequence[Box]) -> list[tuple[int, int]]:
    """Pairs of indices of boxes that may be in one row, the nearest first."""
    if len(boxes) < 2:
        return []
    x0, x1, y, height = np.array([(b.x0, b.x1, b.y, b.height) for b in boxes]).T
    lower = np.minimum(height[:, None], height[None, :])
    off = np.abs(y[:, None] - y[None, :]) / lower
    gap = np.maximum(x0[:, None], x0[None, :]) - np.minimum(x1[:, None], x1[None, :])
    cost = off + _GAP_COST * np.maximum(gap, 0) / lower
    ones, others = np.nonzero(np.triu(off < _OFF, 1))
    nearest = np.argsort(cost[ones, others], kind="stable")
    return list(zip(ones[nearest].tolist(), others[nearest].tolist(), strict=True))


def _above_each_other(one: Box, other: Box) -> bool:
    shared = min(one.x1, other.x1) - max(one.x0, other.x0)
    return shared > _OVERLAP * min(one.width, other.width)


def celled(rows: Sequence[Row], base: int) -> list[list[Cell]]:
    """The cells of rows that are read one after the other, numbered from column `base`.

    Column numbers count the fewest vertical lines that part all neighbouring cells of a table.
    """
    if not rows:
        return []
    height = median_height([box for row in rows for box in row])
    gaps = [_cell_gaps(rows, place, height) for place in range(len(rows))]
    found: list[list[Cell]] = []
    for start, end in _tables(gaps):
        lines = _parting([gap for row in gaps[start:end] for gap in row])
        both = zip(rows[start:end], gaps[start:end], strict=True)
        found += [_numbered(row, own, lines, base) for row, own in both]
    return found


def _numbered(row: Row, gaps: Sequence[Gap], lines: Sequence[float], base: int) -> list[Cell]:
    starts, cells = {end for _, end in gaps}, list[Cell]()
    for box in row:
        if cells and box.x0 not in starts:
            cells.append(Cell(box, cells[-1].column))
        else:
            cells.append(Cell(box, base + sum(line <= box.x0 for line in lines)))
    return cells


def _cell_gaps(rows: Sequence[Row], place: int, height: float) -> list[Gap]:
    """The gaps (from, to) between neighbouring boxes of a row that part cells."""
    row = rows[place]
    gaps = [(a.x1, b.x0) for a, b in pairwise(row)]
    near = [*rows[max(0, place - _NEAR) : place], *rows[place + 1 : place + 1 + _NEAR]]
    return [
        gap
        for gap in gaps
        if gap[1] - gap[0] >= _CELL_GAP * height
        or (gap[1] - gap[0] >= _SHARED_GAP * height and _shared(gap, near, height))
    ]


def _shared(gap: Gap, near: Sequence[Row], height: float) -> bool:
    """Whether neighbouring rows have a gap at the same place, and no more have text there."""
    has = crosses = 0
    for row in near:
        for a, b in pairwise(row):
            has += min(gap[1], b.x0) - max(gap[0], a.x1) >= _SHARED_GAP * height
        crosses += any(box.x0 < gap[0] and box.x1 > gap[1] for box in row)
    return _SHARED_BY <= has >= crosses


def _tables(gaps: Sequence[Sequence[Gap]]) -> list[tuple[int, int]]:
    """Ranges of rows, each with at most one table: it ends at several rows of a single cell."""
    ranges, start, single = [], 0, 0
    for place, row in enumerate(gaps):
        if row and single >= _TABLE_END:
            ranges.append((start, place))
            start = place
        single = 0 if row else single + 1
    return [*ranges, (start, len(gaps))]


def _parting(gaps: Sequence[Gap]) -> list[float]:
    """The fewest places such that every gap has one in it."""
    shared: list[Gap] = []
    for start, end in sorted(gaps, key=lambda gap: gap[1]):
        if shared and start <= shared[-1][1]:
            shared[-1] = (max(start, shared[-1][0]), shared[-1][1])
        else:
            shared.append((start, end))
    return [(start + end) / 2 for start, end in shared]
