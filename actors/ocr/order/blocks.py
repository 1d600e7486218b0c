"""Blocks of columns: the rows beside a gutter, cut at horizontal strips without text.

Each block is judged (`actors.ocr.order.evidence`). Neighbouring blocks of columns are one; headers,
titles and footers above and below them are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from actors.ocr.order.boxes import Box, at_share, median_height
from actors.ocr.order.evidence import Sides, numeric, sides
from actors.ocr.order.rows import Gap, Row

#: Height of a strip between two blocks, in line heights, and in strips between lines: a typescript
#: may be set with double spacing. A strip of the last height always parts blocks.
_BLOCK_GAP, _BLOCK_STEP, _BLOCK_MOST = 0.28, 1.5, 1.8
#: Blocks of this many rows at an end of a column block may be headers, footers or headings.
_FEW_ROWS = 2
#: Headings above columns begin where their columns begin, to this many line heights.
_FLUSH = 0.7
#: A title is this many times as high as a line.
_LARGE = 1.25
#: Least distance of a footer from the left column, in line heights, if it begins where the column
#: begins.
_FOOTER_GAP = 2.0
#: Fewest rows with wrapped cells of a table; how much the first lines of its cells and the steps
#: between its lines may differ, in line heights; share of rows with other steps.
_WRAPPED, _EVEN, _UNEVEN = 3, 0.4, 0.25
#: The last line of a cell is narrower than this share of its longest one, in this share of cells.
_SHORT, _SHORT_SHARE = 0.9, 0.5


@dataclass(frozen=True)
class Columns:
    """Rows start .. end - 1 are columns, parted at x = gutter."""

    start: int
    end: int
    gutter: float


@dataclass(frozen=True)
class _Edges:
    """Where the columns beside a gutter begin, and the height of their lines."""

    left: float
    right: float
    height: float

    def flush(self, box: Box, *starts: float) -> bool:
        """Whether a line begins at one of the starts."""
        return any(abs(box.x0 - start) < _FLUSH * self.height for start in starts)


def columns_in(rows: Sequence[Row], bounds: Sequence[tuple[int, int]], gap: Gap) -> list[Columns]:
    """The first rows that are columns on both sides of a gap, as one block, but each row of wrapped
    cells as a block of its own. `bounds`: `cut(rows)`."""
    gutter = (gap[0] + gap[1]) / 2
    verdicts = [_verdict(rows[a:b], gutter) for a, b in bounds]

    def together(first: int, end: int) -> Sides:
        """The verdict on the unsure blocks of first .. end - 1, taken together."""
        unsure = [bounds[n] for n in range(first, end) if verdicts[n] is Sides.UNSURE]
        return _verdict([row for a, b in unsure for row in rows[a:b]], gutter)

    start = 0
    while start < len(bounds):
        end = _rows_from(verdicts, start)
        sure = _sure(verdicts, start, end)
        if sure is None and together(start, end) is Sides.COLUMNS:
            sure = start, end - 1
        if sure is None:
            start = end + 1
            continue
        both = [bounds[n] for n in range(start, end) if verdicts[n] is not Sides.ONE]
        if _wrapped(rows, both, gutter):
            return [Columns(a, b, gutter) for a, b in both]
        edges = _edges(rows[bounds[sure[0]][0] : bounds[sure[1]][1]], gutter)
        first = sure[0] if together(start, sure[0]) is Sides.ROWS else start
        while first < sure[0] and not _headings(rows, bounds[first], edges):
            first += 1
        last = sure[1] if together(sure[1] + 1, end) is Sides.ROWS else end - 1
        while last > sure[1] and _footer(rows, bounds[last], edges):
            last -= 1
        return [Columns(bounds[first][0], bounds[last][1], gutter)]
    return []


def _rows_from(verdicts: Sequence[Sides], start: int) -> int:
    """The first block from `start` on that is rows for sure."""
    ends = (n for n in range(start, len(verdicts)) if verdicts[n] is Sides.ROWS)
    return next(ends, len(verdicts))


def _sure(verdicts: Sequence[Sides], start: int, end: int) -> tuple[int, int] | None:
    """The first and the last block of start .. end - 1 that are columns for sure."""
    found = [n for n in range(start, end) if verdicts[n] is Sides.COLUMNS]
    return (found[0], found[-1]) if found else None


def upwards(rows: Sequence[Row], block: Columns) -> Columns:
    """The block with the lines above it that belong to its right column: the left one, such as a
    note in the margin, may begin below the first line of the right one."""
    edges, start = _edges(rows[block.start : block.end], block.gutter), block.start
    while start:
        above, below = rows[start - 1], rows[start]
        strip = min(box.y0 for box in below) - max(box.y1 for box in above)
        lines = [box for box in above if edges.flush(box, edges.right)]
        part = len(lines) == len(above) == 1 and lines[0].height <= _LARGE * edges.height
        if not part or strip > _BLOCK_MOST * edges.height:
            break
        start -= 1
    return Columns(start, block.end, block.gutter)


def cut(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Ranges of rows between horizontal strips without text."""
    if len(rows) < 2:
        return [(0, len(rows))]
    gaps, low = list[float](), max(box.y1 for box in rows[0])
    for row in rows[1:]:
        gaps.append(min(box.y0 for box in row) - low)
        low = max(low, *(box.y1 for box in row))
    height = median_height([box for row in rows for box in row])
    least = max(_BLOCK_STEP * at_share(0.5, gaps), _BLOCK_GAP * height)
    least = min(least, _BLOCK_MOST * height)
    ends = [0, *(place for place, gap in enumerate(gaps, 1) if gap >= least)]
    return list(zip(ends, [*ends[1:], len(rows)], strict=True))


def _verdict(rows: Sequence[Row], gutter: float) -> Sides:
    left, right = _beside(rows, gutter)
    if len(rows) <= _FEW_ROWS and left and right:
        return Sides.UNSURE if sides(left, right) is not Sides.COLUMNS else Sides.COLUMNS
    return sides(left, right)


def _beside(rows: Sequence[Row], gutter: float) -> tuple[list[Box], list[Box]]:
    """The lines next to the gutter on its left and on its right: of several columns, the nearest
    one of each row."""
    left = [[box for box in row if box.x < gutter] for row in rows]
    right = [[box for box in row if box.x >= gutter] for row in rows]
    return [row[-1] for row in left if row], [row[0] for row in right if row]


def _edges(rows: Sequence[Row], gutter: float) -> _Edges:
    left, right = _beside(rows, gutter)
    starts = min(box.x0 for box in left), at_share(0.2, [box.x0 for box in right])
    return _Edges(*starts, median_height([*left, *right]))


def _headings(rows: Sequence[Row], bounds: tuple[int, int], edges: _Edges) -> bool:
    """Whether a block above columns is a part of them: its lines begin where columns begin. A large
    line alone above the right column is a title of the page."""
    block = [box for row in rows[slice(*bounds)] for box in row]
    if bounds[1] - bounds[0] > _FEW_ROWS:
        return True
    if len(block) == 1 and block[0].height > _LARGE * edges.height:
        return edges.flush(block[0], edges.left)
    return all(edges.flush(box, edges.left, edges.right) for box in block)


def _footer(rows: Sequence[Row], bounds: tuple[int, int], edges: _Edges) -> bool:
    """Whether a block below columns is no part of them: a few lines that are far below, or begin
    elsewhere, or the number of the page."""
    start, end = bounds
    block = [box for row in rows[start:end] for box in row]
    above = max(box.y1 for row in rows[:start] for box in row)
    gap = min(box.y0 for box in block) - above
    far = gap > _FOOTER_GAP * edges.height or numeric(block) == 1
    return end - start <= _FEW_ROWS and (
        far or not all(edges.flush(box, edges.left, edges.right) for box in block)
    )


def _wrapped(rows: Sequence[Row], bounds: Sequence[tuple[int, int]], gutter: float) -> bool:
    """Whether blocks are rows of a table whose cells have several lines: the cells of each block
    begin together, end with a short line, and hardly any has a gap of its own, as a column of
    paragraphs has."""
    if sum(b - a > 1 for a, b in bounds) < max(_WRAPPED, len(bounds) / 2):
        return False
    uneven, ends = 0, list[float]()
    for a, b in bounds:
        left, right = _beside(rows[a:b], gutter)
        if not left or not right:
            return False
        ends += [side[-1].width / max(box.width for box in side) for side in (left, right)]
        height = median_height([*left, *right])
        steps = [low.y - high.y for side in (left, right) for high, low in pairwise(side)]
        uneven += bool(steps) and max(steps) > min(steps) + _EVEN * height
        if abs(left[0].y - right[0].y) > _EVEN * height:
            return False
    short = sum(end < _SHORT for end in ends)
    return uneven <= _UNEVEN * len(bounds) and short >= _SHORT_SHARE * len(ends)
