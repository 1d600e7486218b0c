"""The share of ink on a page, and the share of it inside text lines."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

#: Side of a cell in pixels of the detector's input: a third of a line, which is about 24 pixels
#: high. Working on the detector's input costs 5 ms per page for scans of 35 megapixels, instead of
#: 31 ms at full size, and gives all pages the same scale.
_CELL = 8
#: Local contrast (`local_contrast`) from which a place has ink; for a cell, the mean of its pixels.
#: Scan noise reaches 10, shading 0; faded letters have 20 and more.
CONTRAST = 16
#: An outline fills less than this share of its box. Connected text fills 0.3 and more.
_OUTLINE_FILL = 0.12
#: Maximum thickness of a rule, in cells.
_RULE_CELLS = 1


def local_contrast(gray: MatLike) -> MatLike:
    """Gray levels between the darkest and the lightest of 3 x 3 pixels, uint8 (H, W).

    It sees dark ink on light paper and light ink on dark paper alike.
    """
    return cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))


def ink_cells(page: MatLike) -> npt.NDArray[np.bool_]:
    """Boolean mask (about H/8, W/8) of the cells with ink of a BGR page (H, W, 3)."""
    height, width = page.shape[:2]
    half = (max(1, width // 2), max(1, height // 2))
    gray = cv2.cvtColor(cv2.resize(page, half, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    contrast = local_contrast(gray)
    size = (max(1, round(width / _CELL)), max(1, round(height / _CELL)))
    return _without_outlines(cv2.resize(contrast, size, interpolation=cv2.INTER_AREA) > CONTRAST)


def _without_outlines(ink: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Remove outlines that span half the page: paper edges, frames, rules."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8))
    spans = (stats[:, 2] > ink.shape[1] / 2) | (stats[:, 3] > ink.shape[0] / 2)
    thin = stats[:, 4] < _OUTLINE_FILL * stats[:, 2] * stats[:, 3]
    lines = np.minimum(stats[:, 2], stats[:, 3]) <= _RULE_CELLS
    outline = spans & (thin | lines)
    outline[0] = False  # the paper itself
    return ink & ~outline[labels] if count > 1 else ink


def coverage(
    ink: npt.NDArray[np.bool_], polygons: npt.NDArray[np.float32], page: tuple[int, int]
) -> tuple[float, float | None]:
    """(share of cells with ink, share of these cells inside `polygons`), each 0..1.

    `polygons`: (N, 4, 2), pixels; `page`: (height, width). The second is None without ink.
    """
    total = int(ink.sum())
    if not total:
        return 0.0, None
    inside = np.zeros(ink.shape, np.uint8)
    scale = np.array([ink.shape[1] / page[1], ink.shape[0] / page[0]], np.float32)
    if len(polygons):
        cells = np.floor(polygons * scale).astype(np.int32)  # fillPoly also fills the edges
        for polygon in cells:
            cv2.fillPoly(inside, [polygon], 1)
    return total / ink.size, float(ink[inside.astype(bool)].sum()) / total
