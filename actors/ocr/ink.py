"""How much ink is on a page, and how much of it the found lines explain."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

#: Side of a cell in pixels of a page whose lines are about 24 pixels high: a third of a line.
_CELL = 8
#: Gray levels between a cell and its surroundings: a cell holding part of a letter is 30 and more
#: below paper, shading and noise of a scan average to less than 10 over 64 pixels.
_CONTRAST = 24
#: Cells of the surroundings whose median is the paper: wider than a line and its gaps.
_SURROUNDINGS = 31


def ink_cells(page: MatLike) -> npt.NDArray[np.bool_]:
    """Which cells of a BGR page (H, W, 3) hold ink, shape (about H/8, W/8)."""
    height, width = page.shape[:2]
    size = (max(1, round(width / _CELL)), max(1, round(height / _CELL)))
    gray = cv2.cvtColor(cv2.resize(page, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    paper = cv2.medianBlur(gray, _SURROUNDINGS)
    return cv2.absdiff(gray, paper) > _CONTRAST


def coverage(
    ink: npt.NDArray[np.bool_], polygons: npt.NDArray[np.float32], page: tuple[int, int]
) -> tuple[float, float | None]:
    """(share of cells with ink, share of those inside `polygons`), each 0..1.

    `polygons`: (N, 4, 2), pixels; `page`: (height, width). The second is None without ink.
    """
    total = int(ink.sum())
    if not total:
        return 0.0, None
    inside = np.zeros(ink.shape, np.uint8)
    scale = np.array([ink.shape[1] / page[1], ink.shape[0] / page[0]], np.float32)
    if len(polygons):
        cells = np.floor(polygons * scale).astype(np.int32)  # fillPoly paints the edges too
        for polygon in cells:
            cv2.fillPoly(inside, [polygon], 1)
    return total / ink.size, float(ink[inside.astype(bool)].sum()) / total
