"""Text that a PDF page shows and its text layer does not hold. Child process only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pypdfium2 as pdfium
from cv2.typing import MatLike

from actors.ocr.pp_ocr.ink import CONTRAST, local_contrast
from pipelines.pages.text_layer.drawn import without
from pipelines.pages.text_layer.ink import sketch_of
from pipelines.pages.text_layer.letter_rows import UnreadText, unread_text
from pipelines.pages.text_layer.lines import Box, Projection, Run

#: Pixels of the picture: A4 at 144 dpi, where letters of 5 pt are 5 pixels high.
_PIXELS = 2e6
_MOST_SCALE = 6.0  # pixels per point, for labels and tickets
#: Half pixels around a character that belong to it (anti-aliasing).
_MARGIN = 2
#: Half pixels: straight runs of an inch or more are rules and edges of panels, not letters.
_RULE = 73  # odd, so that the opening does not shift
_LEAST_INK = 40  # half pixels: less than four small letters
_FRAME = 16  # pixels around the ink


def unread(page: pdfium.PdfPage, runs: Sequence[Run]) -> UnreadText:
    """Text-like ink of the page without the text in `runs`.

    pdfium draws the page without the text objects of `runs`. What is left in the places of their
    characters does not count either: shadows, and the scan beneath trusted invisible text. 4 ms
    for a page without other ink, about 50 ms for one with a picture on it. `area` is in points.
    """
    width, height = page.get_size()
    scale = min(_MOST_SCALE, math.sqrt(_PIXELS / max(1.0, width * height)))
    with without({glyph.owner for run in runs for glyph in run.glyphs if glyph.owner}):
        gray = sketch_of(page, scale, annotations=True)
    half = cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    ink = (local_contrast(half) > CONTRAST).astype(np.uint8)
    left = _without_rules(ink)
    if cv2.countNonZero(left) < _LEAST_INK:
        return UnreadText()
    outside = _outside(ink, runs, Projection.of(page, scale / 2))
    left = _without_rules(cv2.bitwise_and(ink, outside))
    if cv2.countNonZero(left) < _LEAST_INK:
        return UnreadText()
    x, y, wide, high = (2 * value for value in cv2.boundingRect(left))
    rows = slice(max(0, y - _FRAME), y + high + _FRAME)
    columns = slice(max(0, x - _FRAME), x + wide + _FRAME)
    size = (gray.shape[1], gray.shape[0])
    outside = cv2.resize(255 * outside, size, interpolation=cv2.INTER_NEAREST)
    found = unread_text(
        np.ascontiguousarray(gray[rows, columns]), np.ascontiguousarray(outside[rows, columns])
    )
    return replace(found, area=found.area / scale**2)


def share_read(runs: Sequence[Run], missed: UnreadText) -> float:
    """Characters of `runs` / these and the unread letters, by number or by area; 0 without any.

    The larger share counts: a cover has few letters, but large ones; texture in a photo has few
    "letters", which may be large.
    """
    boxes = np.array([box for run in runs for box in run.boxes]).reshape(-1, 4)
    area = float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum())
    by_area = area / (area + missed.area) if area else 0.0
    return max(by_area, len(boxes) / max(1, len(boxes) + missed.letters))


def _outside(ink: MatLike, runs: Sequence[Run], to_half: Projection) -> MatLike:
    """uint8 (H, W): 0 at the characters and between neighbours, else 1.

    Neighbour by neighbour: the box of a whole slanted line covers half the page.
    """
    outside = np.ones_like(ink)
    for run in runs:
        boxes = [to_half(box) for box in run.boxes]
        for box in boxes[:1]:
            _clear(outside, box)
        for one, other in pairwise(boxes):
            _clear(outside, _around(one, other) if _adjoin(one, other) else other)
    return outside


def _adjoin(one: Box, other: Box) -> bool:
    """Whether a space at most is between two characters."""
    size = max(one[2] - one[0], one[3] - one[1], other[2] - other[0], other[3] - other[1])
    across = max(one[0], other[0]) - min(one[2], other[2])
    down = max(one[1], other[1]) - min(one[3], other[3])
    return across <= size and down <= size


def _around(one: Box, other: Box) -> Box:
    left, top = min(one[0], other[0]), min(one[1], other[1])
    return left, top, max(one[2], other[2]), max(one[3], other[3])


def _clear(outside: MatLike, box: Box) -> None:
    left, top, right, bottom = box
    first = (int(left) - _MARGIN, int(top) - _MARGIN)
    cv2.rectangle(outside, first, (math.ceil(right) + 1, math.ceil(bottom) + 1), 0, cv2.FILLED)


def _without_rules(ink: MatLike) -> MatLike:
    across = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((1, _RULE), np.uint8))
    down = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((_RULE, 1), np.uint8))
    return cv2.subtract(ink, cv2.max(across, down))
