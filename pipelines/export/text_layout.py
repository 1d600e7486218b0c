"""Estimate the positions of characters inside the quad of their line.

Widths are those of an average sans-serif font, in thousandths of its size. Only their ratios
matter, because a line is scaled to its quad. Text directions have two levels: the direction of the
line, and runs of the other direction (numbers and Latin words in Arabic lines, Hebrew words in
English lines). Embedding marks and isolates are ignored.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from actors.lines import VERTICAL

Point = tuple[float, float]
#: Top left, top right, bottom right, bottom left, in reading orientation.
Quad = tuple[Point, Point, Point, Point]

#: All values of `advance`.
ADVANCES = (0, 250, 300, 350, 450, 550, 670, 850, 1000)

_NARROW = frozenset("iljtfrI.,:;'`|!()[]{}/\\-\" ")
_BROAD = frozenset("mwMW@%—…")
_WIDE = frozenset({"W", "F"})
_BETWEEN = frozenset({"Mn", "Me", "Cf", "Cc"})
_RIGHT_TO_LEFT = frozenset({"R", "AL"})
_LEFT_TO_RIGHT = frozenset({"L", "EN", "AN"})


def advance(char: str) -> int:
    """Width of a character in thousandths of the font size; one of ADVANCES."""
    if char in _NARROW:
        return 300
    if char in _BROAD:
        return 850
    kind = unicodedata.category(char)
    if kind in _BETWEEN:
        return 0
    if unicodedata.east_asian_width(char) in _WIDE:
        return 1000
    if unicodedata.bidirectional(char) == "AL":
        return 450
    return 670 if kind == "Lu" else 550


@dataclass(frozen=True)
class Run:
    """Characters `start` to `end` of a line with one direction.

    `left`, `right`: its position, as shares (0..1) of the line's width from the left end.
    """

    start: int
    end: int
    rtl: bool
    left: float
    right: float


def is_rtl(text: str) -> bool:
    """True for a line that is read from right to left, by its first letter."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind == "L" or kind in _RIGHT_TO_LEFT:
            return kind != "L"
    return False


def runs_of(text: str) -> list[Run]:
    """The runs of a line in the order of its characters; empty for an empty line."""
    rtl = is_rtl(text)
    sides = _sides(text, rtl)
    borders = [0, *(i for i in range(1, len(text)) if sides[i] != sides[i - 1]), len(text)]
    widths = _widths(text)
    total = sum(widths)
    at, found = 0.0, []
    for start, end in pairwise(borders):
        share = sum(widths[start:end]) / total if total else 0.0
        left = 1 - at - share if rtl else at
        if end > start:
            found.append(Run(start, end, sides[start], left, left + share))
        at += share
    return found


def spans_of(text: str) -> list[tuple[float, float]]:
    """(left, right) of each character, as shares (0..1) of the line's width from the left end."""
    widths = _widths(text)
    spans: list[tuple[float, float]] = []
    for run in runs_of(text):
        own = widths[run.start : run.end]
        scale = (run.right - run.left) / (sum(own) or 1)
        for before, width in zip(accumulate(own, initial=0), own, strict=False):
            near, far = before * scale, (before + width) * scale
            spans.append(
                (run.right - far, run.right - near)
                if run.rtl
                else (run.left + near, run.left + far)
            )
    return spans


def words_of(text: str) -> list[tuple[str, float, float]]:
    """(word, left, right) of a line, in the order of its characters; shares as in `spans_of`."""
    spans, words, start = spans_of(text), [], 0
    for word in text.split():
        start = text.index(word, start)
        own = spans[start : start + len(word)]
        words.append((word, min(left for left, _ in own), max(right for _, right in own)))
        start += len(word)
    return words


def _widths(text: str) -> list[int]:
    widths = [advance(char) for char in text]
    return widths if any(widths) else [1] * len(text)


def _sides(text: str, base: bool) -> list[bool]:
    """True for each right-to-left character. Neutral ones follow equal neighbours, else `base`."""
    strong: list[bool | None] = []
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind == "NSM" and strong:
            strong.append(strong[-1])
        else:
            strong.append(
                True if kind in _RIGHT_TO_LEFT else False if kind in _LEFT_TO_RIGHT else None
            )
    before = list(accumulate(strong, _latest))
    after = list(accumulate(strong[::-1], _latest))[::-1]
    return [
        one if one is not None else (left if left is not None and left == right else base)
        for one, left, right in zip(strong, before, after, strict=True)
    ]


def _latest(kept: bool | None, one: bool | None) -> bool | None:
    return kept if one is None else one


def quad_of(polygon: Sequence[float], text: str) -> Quad:
    """The corners of a line in reading orientation. A vertical line is read from the top.

    Args:
        polygon: x0,y0 .. x3,y3, clockwise from the top left (`actors.lines.LINE`).
    """
    a, b, c, d = zip(polygon[::2], polygon[1::2], strict=True)
    wide = max(math.dist(a, b), math.dist(d, c))
    high = max(math.dist(a, d), math.dist(b, c))
    if len(text) > 1 and high >= VERTICAL * max(wide, 1e-6):
        return b, c, d, a  # readers rotate such a line to the left: its top is on the right
    return a, b, c, d


def part_of(quad: Quad, left: float, right: float) -> Quad:
    """The part of a quad between the shares `left` and `right` (0..1) of its width."""
    a, b, c, d = quad
    return _along(a, b, left), _along(a, b, right), _along(d, c, right), _along(d, c, left)


def box_of(quad: Quad) -> tuple[float, float, float, float]:
    """Bounding box x0, y0, x1, y1 of a quad."""
    xs, ys = zip(*quad, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def angle_of(quad: Quad) -> float:
    """Rotation of a line in degrees counter-clockwise, -180..180; y points down."""
    a, b, c, d = quad
    return -math.degrees(math.atan2(b[1] - a[1] + c[1] - d[1], b[0] - a[0] + c[0] - d[0]))


def _along(start: Point, end: Point, share: float) -> Point:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
