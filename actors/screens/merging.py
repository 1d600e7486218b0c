"""Merges icons and text lines into elements, with OmniParser's rules.

Source: `remove_overlap_new` in `util/utils.py` of microsoft/OmniParser (MIT), commit 3540212, with
its thresholds. One difference: if an icon with a text line lies inside another icon, OmniParser
drops both icon and line; we drop only the icon.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from actors.lines import LineValue
from actors.ocr.reading_order import reading_order
from actors.screens.element import ElementValue

#: Minimum share of a box's area inside another box, for the box to count as inside.
_INSIDE = 0.8

Boxes = npt.NDArray[np.float32]


def merged(
    icons: Boxes,
    scores: Sequence[float],
    lines: Sequence[LineValue],
    max_overlap: float,
) -> list[ElementValue]:
    """The elements in reading order, still without captions.

    1. If two icons overlap by more than `max_overlap`, only the smaller is kept. The overlap is the
       largest of intersection / union, / first area, / second area.
    2. An icon inside a text line is dropped.
    3. A text line inside an icon becomes the icon's text instead of a separate element.

    Args:
        icons: (n, 4), x0, y0, x1, y1, pixels.
        scores: (n,), of the icons.
        lines: lines with empty text are ignored.
        max_overlap: 0..1.
    """
    read = [line for line in lines if line["text"]]
    texts = _bounds(read)
    stays = ~_covers_smaller(icons, max_overlap)
    stays &= ~(_share_inside(icons, texts) > _INSIDE).any(axis=1)
    held = (_share_inside(texts, icons) > _INSIDE) & stays[None, :]
    elements = [
        _icon(icons[i], scores[i], [read[j] for j in np.flatnonzero(held[:, i])])
        for i in map(int, np.flatnonzero(stays))
    ]
    free = np.flatnonzero(~held.any(axis=1))
    elements += [_text(texts[j], read[j]) for j in free]
    boxes = np.array([one["box"] for one in elements], np.float32).reshape(-1, 4)
    quads = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
    return [elements[place.index] for place in reading_order(quads)]


def _icon(box: Boxes, score: float, lines: Sequence[LineValue]) -> ElementValue:
    known = [line["score"] for line in lines if line["score"] is not None]
    return {
        "type": "icon",
        "box": box.tolist(),
        "interactive": True,
        "text": " ".join(line["text"] for line in lines) or None,
        "caption": None,
        "score": score,
        "content_score": min(known) if known and len(known) == len(lines) else None,
    }


def _text(box: Boxes, line: LineValue) -> ElementValue:
    return {
        "type": "text",
        "box": box.tolist(),
        "interactive": False,
        "text": line["text"],
        "caption": None,
        "score": line["score"],
        "content_score": line["score"],
    }


def _bounds(lines: Sequence[LineValue]) -> Boxes:
    corners = np.array([line["polygon"] for line in lines], np.float32).reshape(-1, 4, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _areas(boxes: Boxes) -> Boxes:
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.maximum(sides[:, 0] * sides[:, 1], np.float32(1e-6))


def _intersections(ones: Boxes, others: Boxes) -> Boxes:
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    area: Boxes = sides[..., 0] * sides[..., 1]
    return area


def _share_inside(ones: Boxes, others: Boxes) -> Boxes:
    """(n, m): share (0..1) of each of `ones` inside each of `others`."""
    share: Boxes = _intersections(ones, others) / _areas(ones)[:, None]
    return share


def _covers_smaller(icons: Boxes, max_overlap: float) -> npt.NDArray[np.bool_]:
    """(n,): whether a smaller box overlaps it by more than `max_overlap`."""
    shared, areas = _intersections(icons, icons), _areas(icons)
    smaller = np.minimum(areas[:, None], areas[None, :])  # gives the largest of the three ratios
    larger = areas[:, None] > areas[None, :]
    return np.any((shared / smaller > max_overlap) & larger, axis=1)
