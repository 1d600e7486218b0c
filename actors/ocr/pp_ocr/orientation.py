"""How a page is turned, told by its own lines: by 0, 90, 180 or 270 degrees.

The detector finds the lines of a turned page, so most boxes say along which side the text runs.
Whether a line is upside down follows from reading it both ways. Scores of ten lines, mean:

| lines | lowest | median | highest |
|---|---|---|---|
| upright (76 pages, receipts and rendered) | 0.85 | 0.99 | 1.00 |
| upside down (the same) | 0.41 | 0.66 | 0.77 |

Columns of Han and kana run downwards on an upright page, like the lines of a page of Latin text
that was turned clockwise, and the recogniser reads characters that lie on their left side. The
characters of such a line are turned one by one and read again. Share of the same characters:
1.0 for columns, at most 0.25 for rows (8 pages in four directions, 544 lines).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from actors.lines import VERTICAL
from actors.ocr.pp_ocr.detection import LINE_HEIGHT, Image
from actors.ocr.pp_ocr.packing import line_columns

if TYPE_CHECKING:
    from actors.ocr.pp_ocr.line_reader import Reading

Read = Callable[[Sequence[Image]], Sequence["Reading"]]

#: Lines of a page that are judged, longest first. With 6, two of 76 upright pages were in doubt.
_LINES = 10
#: Mean score of lines that are certainly not upside down; see the table above.
_SURE = 0.85
#: A page without tall lines is turned only if its lines read better upside down by this much. The
#: least gain on a page that was upside down was 0.18.
_GAIN = 0.05
#: Characters below which a page is left as it is.
_LEAST_CHARACTERS = 8
#: Lines whose characters are turned, the fewest and the most characters of each.
_COLUMNS, _FEWEST, _MOST = 2, 4, 8
#: Share of equal characters from which a line is a column.
_SAME = 0.5


@dataclass(frozen=True)
class LinesToJudge:
    """The longest lines of a page that run the same way.

    Attributes:
        places: indices of the page's lines.
        direction: degrees clockwise from rightwards, in which their crops read on the page.
    """

    places: tuple[int, ...]
    direction: int


def lines_to_judge(quads: npt.NDArray[np.float32]) -> LinesToJudge:
    """Choose from the lines of a page, (N, 4, 2), pixels; no line without quads."""
    if not len(quads):
        return LinesToJudge((), 0)
    right, down = quads[:, 1] - quads[:, 0], quads[:, 3] - quads[:, 0]
    sides = np.linalg.norm(quads - np.roll(quads, -1, axis=1), axis=2)
    wide, high = sides[:, ::2].max(axis=1), sides[:, 1::2].max(axis=1)
    along = np.where((high >= VERTICAL * wide)[:, None], down, right)
    angles = np.degrees(np.arctan2(along[:, 1], along[:, 0]))
    directions = (np.round(angles / 90).astype(int) * 90) % 360
    lengths = np.maximum(wide, high)
    main = max((0, 90, 180, 270), key=lambda one: float(lengths[directions == one].sum()))
    order = [int(i) for i in np.argsort(-lengths, kind="stable") if directions[i] == main]
    return LinesToJudge(tuple(order[:_LINES]), main)


def turn_needed(
    judged: LinesToJudge, crops: Sequence[Image], readings: Sequence[Reading], read: Read
) -> int:
    """Degrees clockwise by which the page must be turned to stand upright; 0 if it cannot be told.

    Args:
        judged: the lines.
        crops: their crops, as cut by `crop`.
        readings: of the crops.
        read: reads more crops.
    """
    direction = judged.direction
    if crops and _score(readings) < _SURE:
        reversed_crops = [np.ascontiguousarray(np.rot90(line, 2)) for line in crops]
        other = read(reversed_crops)
        if _score(other) > _score(readings) + (_GAIN if direction == 0 else 0.0):
            crops, readings, direction = reversed_crops, other, (direction + 180) % 360
    texts = [text.replace(" ", "") for text, *_ in readings]
    if sum(map(len, texts)) < _LEAST_CHARACTERS:
        return 0
    upright = 90 if _are_columns(direction, crops, texts, read) else 0
    return (upright - direction) % 360


def _score(readings: Sequence[Reading]) -> float:
    return float(np.mean([score or 0.0 for _, score, *_ in readings]))


def _are_columns(direction: int, crops: Sequence[Image], texts: Sequence[str], read: Read) -> bool:
    """Whether the lines are columns of Han and kana. Without proof, lines that run down are."""
    if 2 * sum(map(_ideographs, texts)) < sum(map(len, texts)):
        return False
    fit = [
        (len(text), place)
        for place, text in enumerate(texts)
        if len(text) >= _FEWEST and _ideographs(text) >= 0.8 * len(text)
    ]
    if not fit:
        return direction == 90
    chosen = [place for _, place in sorted(fit)[:_COLUMNS]]
    again = read([_characters_turned(crops[place], len(texts[place])) for place in chosen])
    return any(
        _same(text, texts[place][:_MOST]) >= _SAME
        for (text, *_), place in zip(again, chosen, strict=True)
    )


def _ideographs(text: str) -> int:
    """Number of Han and kana characters."""
    return sum("\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" for char in text)


def _characters_turned(line: Image, count: int) -> Image:
    """The first of `count` equally wide characters of a line, each turned to the right."""
    spread = np.ptp(cv2.cvtColor(line, cv2.COLOR_BGR2GRAY).astype(np.int16), axis=0)
    ink = np.flatnonzero(spread > 0.5 * spread.max())
    edges = np.linspace(ink[0], ink[-1] + 1, count + 1).astype(int)
    cells = [
        cv2.resize(line[:, start : max(end, start + 1)], (LINE_HEIGHT, LINE_HEIGHT))
        for start, end in pairwise(edges[: _MOST + 1])
    ]
    row = np.hstack([np.rot90(cell, -1) for cell in cells])
    return cv2.resize(row, (line_columns(row.shape[1]), LINE_HEIGHT))


def _same(one: str, other: str) -> float:
    """Share of the characters of `other` that `one` has at the same place."""
    return sum(a == b for a, b in zip(one, other, strict=False)) / len(other)
