"""Reading order of text lines, with their rows and columns.

* A skewed page is turned upright by the median angle of its lines.
* Columns of prose are read one after the other, cells row by row (`actors.ocr.order.columns`).
* Pages in Arabic or Hebrew are read like their mirror images (`actors.ocr.order.from_right`).
* Vertical lines of Han and kana are read from right to left (`actors.ocr.order.vertical`): after
  the horizontal lines above them, and on mostly horizontal pages after all of these.

Lines of curved or folded pages are straight boxes at changing angles: their order may be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actors.ocr.order.boxes import Box, median_height, upright
from actors.ocr.order.columns import ordered
from actors.ocr.order.doubt import order_doubt, variants
from actors.ocr.order.from_right import from_right, mirrored
from actors.ocr.order.rows import Cell
from actors.ocr.order.vertical import is_vertical, turned

#: A line of another script that is this many times as high as wide, and as other lines are high, is
#: no part of a row: a stamp along the margin.
_STRAY = 3.0


@dataclass(frozen=True)
class Placed:
    """The place of a line; see `actors.lines.LINE`.

    Attributes:
        index: of the line in the input.
        row: number of its row, from 0 in reading order.
        column: number of its column, from 0 at the left; on pages that are read from right to left
            at the right, of vertical lines at the top.
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
    return _placed(_boxes(polygons, texts))


def judged_order(
    polygons: npt.NDArray[np.float32], texts: Sequence[str] | None = None
) -> tuple[list[Placed], float | None]:
    """The lines in reading order, and the doubt about it: see `actors.ocr.order.doubt`."""
    boxes = _boxes(polygons, texts)
    places = _placed(boxes)
    changed = ([place.index for place in _placed(variant)] for variant in variants(boxes))
    return places, order_doubt([place.index for place in places], changed)


def _boxes(polygons: npt.NDArray[np.float32], texts: Sequence[str] | None) -> list[Box]:
    if not len(polygons):
        return []
    return upright(mirrored(polygons) if from_right(texts or ()) else polygons, texts)


def _placed(boxes: Sequence[Box]) -> list[Placed]:
    vertical = [box for box in boxes if is_vertical(box)]
    level = [box for box in boxes if not is_vertical(box)]
    top = min((box.y0 for box in vertical), default=np.inf)
    if _letters(vertical) < _letters(level):  # vertical captions, or misread signs
        top = np.inf
    above = [box for box in level if box.y < top]
    below = [box for box in level if box.y >= top]
    rows = [*_level(above), *ordered(turned(vertical))[0], *_level(below)]
    return [
        Placed(cell.box.index, row, cell.column) for row, cells in enumerate(rows) for cell in cells
    ]


def _letters(boxes: Sequence[Box]) -> int:
    return sum(len(box.text or "") for box in boxes)


def _level(boxes: Sequence[Box]) -> list[list[Cell]]:
    """Rows of cells of horizontal lines; tall strays come last."""
    if not boxes:
        return []
    height = median_height(boxes)
    strays = [box for box in boxes if box.height > _STRAY * max(box.width, height)]
    flow = [box for box in boxes if box not in strays]
    return ordered(flow)[0] + [[Cell(box, 0)] for box in sorted(strays, key=lambda box: box.x0)]
