"""The order of a page with columns: a variant of the XY-cut of Nagy and Seth (1984).

A gutter is a vertical strip without text, over neighbouring rows. Its rows are cut into blocks at
horizontal strips without text, and each block is judged (`actors.ocr.order.evidence`). Neighbouring
blocks of prose are read one column after the other, everything else row by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.ocr.order.blocks import Columns, columns_in, cut, upwards
from actors.ocr.order.boxes import Box, median_height
from actors.ocr.order.bridges import without_bridges
from actors.ocr.order.rows import Cell, Gap, Row, celled, rows_of

#: Least width of a gutter in line heights, and what is taken from each side of a box. Detected
#: boxes are wider than their text by about 0.15 on each side, and by more where they lean.
_GUTTER, _MARGIN = 0.1, 0.05


def ordered(boxes: Sequence[Box], base: int = 0) -> tuple[list[list[Cell]], int]:
    """Rows of cells in reading order, and the number of columns of prose; `base`: the first one."""
    rows, found, width, start = without_bridges(rows_of(boxes)), list[list[Cell]](), 1, 0
    while blocks := _blocks(rows[start:]):
        done = start
        for block in blocks:
            first, end = done + block.start, done + block.end
            found += ordered([box for row in rows[start:first] for box in row], base)[0]
            inside = [box for row in rows[first:end] for box in row]
            left, columns = ordered([box for box in inside if box.x < block.gutter], base)
            after = [box for box in inside if box.x >= block.gutter]
            right, more = ordered(after, base + columns)
            found += [*left, *right]
            width, start = max(width, columns + more), end
    return found + celled(rows[start:], base), width


def _blocks(rows: Sequence[Row]) -> list[Columns]:
    """The first blocks of columns, by the longest gutter; empty if there are none."""
    if not rows:
        return []
    least = _GUTTER * median_height([box for row in rows for box in row])
    for first in range(len(rows) - 1):
        for end, gaps in _gutters(rows, first, least):
            run = rows[first:end]
            bounds = cut(run)
            found = [columns_in(run, bounds, gap) for gap in gaps]
            best = max(found, key=lambda blocks: blocks[-1].end - blocks[0].start if blocks else 0)
            if best:
                blocks = [Columns(first + one.start, first + one.end, one.gutter) for one in best]
                return [upwards(rows, blocks[0]), *blocks[1:]]
    return []


def _gutters(rows: Sequence[Row], first: int, least: float) -> list[tuple[int, list[Gap]]]:
    """Runs of rows from `first` with their gutters: (end, gutters), the longest run first."""
    gaps: list[Gap] = [(-np.inf, np.inf)]
    runs: list[tuple[int, list[Gap]]] = []
    before: list[Gap] = []
    for end in range(first + 1, len(rows) + 1):
        for box in rows[end - 1]:
            gaps = _without(gaps, box, least)
        inner = [gap for gap in gaps if np.isfinite(gap[0]) and np.isfinite(gap[1])]
        if before and (len(inner) < len(before)):
            runs.append((end - 1, before))
        if not inner and end > first + 1:
            break
        before = inner
    else:
        runs.append((len(rows), before))
    return [(end, found) for end, found in reversed(runs) if found and end > first + 1]


def _without(gaps: Sequence[Gap], box: Box, least: float) -> list[Gap]:
    x0, x1 = box.x0 + _MARGIN * box.height, box.x1 - _MARGIN * box.height
    if not any(a < x1 and b > x0 for a, b in gaps):
        return list(gaps)
    pieces = [p for a, b in gaps for p in ((a, min(b, x0)), (max(a, x1), b))]
    return [(a, b) for a, b in pieces if b - a >= least]
