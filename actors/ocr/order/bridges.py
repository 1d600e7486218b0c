"""Lines of two columns that the detector joined across a narrow gutter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from actors.ocr.order.boxes import Box, median_height
from actors.ocr.order.rows import Gap, Row

#: Rows above and below a joined line in which its gutter must be; least width of the gutter, and of
#: the text on both sides of it, in line heights.
_NEAR, _GUTTER, _TEXT = 6, 0.1, 4.0
#: For lines to be cut into two: rows whose right lines begin at the same place, to `_SAME` line
#: heights; width of the strip that is searched for the gutter, and of the parts of a line.
_SHARED, _SAME, _STRIP, _WIDE = 4, 0.25, 0.7, 5.0
#: A line that is higher, in line heights, is a headline.
_HIGH = 1.25
#: A box may also reach into the gutter, and beyond it by this many line heights.
_OVER = 1.0


def without_bridges(rows: Sequence[Row]) -> list[Row]:
    """The rows, with each joined line cut back to its part left of the gutter, and boxes that reach
    into the gutter cut back to their column.

    A line is joined if rows close above and below it have a gutter at the same place within it. A
    headline between two blocks of columns has more space around it.
    """
    if not rows:
        return []
    height = median_height([box for row in rows for box in row])
    gutters = [_gutters(row, height) for row in rows]
    found = list[Row]()
    for place, row in enumerate(rows):
        near = gutters[max(0, place - _NEAR) : place], gutters[place + 1 : place + 1 + _NEAR]
        near_rows = rows[max(0, place - 1) : place + 2]
        close = max((_space(a, b) for a, b in pairwise(near_rows)), default=0.0) < height
        found.append([_cut_back(box, near, height) for box in row] if close else row)
    return found


def joined(rows: Sequence[Row]) -> dict[int, Gap]:
    """Index and gutter of each line that may be joined, with the gutter that most rows share.

    Where it ends is where the lines of the right column begin. Its pixels must tell whether a line
    is joined: it may be a line across the page, or a cell across columns of a table.
    """
    if not rows:
        return {}
    height = median_height([box for row in rows for box in row])
    ends = sorted(gap[1] for row in rows for gap in _gutters(row, height))
    near = [sum(abs(other - end) < _SAME * height for other in ends) for end in ends]
    if not near or max(near) < _SHARED:
        return {}
    end = ends[near.index(max(near))]
    start = end - _STRIP * height
    return {
        box.index: (start, end)
        for row in rows
        for box in row
        if box.height <= _HIGH * height
        and box.x0 < start - _WIDE * height
        and box.x1 > end + _WIDE * height
    }


def _gutters(row: Row, height: float) -> list[Gap]:
    gaps = [(a.x1, b.x0) for a, b in pairwise(row)]
    return [gap for gap in gaps if gap[1] - gap[0] >= _GUTTER * height]


def _space(above: Row, below: Row) -> float:
    return min(box.y0 for box in below) - max(box.y1 for box in above)


def _cut_back(
    box: Box, near: tuple[Sequence[Sequence[Gap]], Sequence[Sequence[Gap]]], height: float
) -> Box:
    if box.width < _TEXT * height:
        return box
    x0, x1 = box.x0 - height, box.x1 + height
    above, below = (
        [gap for row in side for gap in row if gap[0] < x1 and gap[1] > x0] for side in near
    )
    for high in above:
        for low in below:
            start, end = max(high[0], low[0]), min(high[1], low[1])
            least = _GUTTER * height
            if end - start < least or box.x1 < end - least or box.x0 > start + least:
                continue
            left, right = (start - box.x0) / height, (box.x1 - end) / height
            if left > _TEXT and (right > _TEXT or right < _OVER):
                return replace(box, x1=end - 2 * least)  # `start` may be the end of a short line
            if right > _TEXT and left < _OVER:
                return replace(box, x0=end)
    return box
