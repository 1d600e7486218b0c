"""Cuts lines into two that the detector joined across the gutter of two columns."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from actors.ocr.order.boxes import Box, upright
from actors.ocr.order.bridges import joined
from actors.ocr.order.rows import Gap, rows_of
from actors.ocr.pp_ocr.detection import Image, straight_crop

#: A column of pixels is blank if its contrast is less than this share of the line's.
_BLANK = 0.3
#: Least width of the blank strip in line heights; blanks between words are about 0.2 wide.
_LEAST = 0.3
#: Lines across the gutter that must have the strip: number, and share.
_FEW, _MOST = 3, 0.7


def parted(page: Image, quads: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The quads (N, 4, 2) of a page's lines, two for each joined line.

    Joined lines have a blank strip where other rows have the gutter. If few of the lines across the
    gutter have one, these are blanks between words, and no line is cut.
    """
    boxes = upright(quads, None)
    gutters = joined(rows_of(boxes))
    if not gutters:
        return quads
    strips = {i: _strip(page, quads[i], boxes[i], gutter) for i, gutter in gutters.items()}
    if sum(strip is not None for strip in strips.values()) < max(_FEW, _MOST * len(strips)):
        return quads
    found = list[npt.NDArray[np.float32]]()
    for place, quad in enumerate(quads):
        strip = strips.get(place)
        found += [quad] if strip is None else [_part(quad, 0.0, strip[0]), _part(quad, strip[1], 1)]
    return np.array(found, np.float32)


def _strip(page: Image, quad: npt.NDArray[np.float32], box: Box, gutter: Gap) -> Gap | None:
    """The blank strip at the gutter, as shares of the line's length; None if there is none."""
    line = cv2.cvtColor(straight_crop(page, quad), cv2.COLOR_BGR2GRAY).astype(np.int16)
    contrast = np.abs(line - np.median(line)).max(axis=0)
    blank = contrast < _BLANK * contrast.max()
    start, end = ((x - box.x0) / box.width * len(blank) for x in gutter)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], blank, [0]])))
    runs = [
        (int(a), int(b))
        for a, b in edges.reshape(-1, 2)
        if b - a >= _LEAST * len(line) and a < end and b > start
    ]
    if not runs:
        return None
    a, b = max(runs, key=lambda run: run[1] - run[0])
    margin = (b - a) / 4
    return (a + margin) / len(blank), (b - margin) / len(blank)


def _part(quad: npt.NDArray[np.float32], start: float, end: float) -> npt.NDArray[np.float32]:
    """The part of a quad between two shares of its length."""
    top, low = quad[1] - quad[0], quad[2] - quad[3]
    corners = [
        quad[0] + start * top,
        quad[0] + end * top,
        quad[3] + end * low,
        quad[3] + start * low,
    ]
    return np.round(corners).astype(np.float32)
