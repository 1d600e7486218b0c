"""Whether the lines on the two sides of a gutter are columns of prose or cells of rows.

Columns of prose may stand on one grid, as in a newspaper, so that equal baselines prove nothing.
Prose fills its column and runs on from line to line. Cells are short or ragged, begin with a
capital or are numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from itertools import pairwise

import numpy as np

from actors.ocr.order.boxes import Box, at_share, median_height

#: Lines whose tops, middles or bottoms differ by less than this share of a line's height are
#: aligned.
_ALIGNED = 0.2
#: Share of aligned lines from which two sides are rows: lines of prose that are not on one grid
#: align by chance in about 0.4 of all cases.
_ALIGNED_SHARE = 0.65
#: Least width of a column of prose in line heights; about eleven characters.
_PROSE_WIDTH = 5.0
#: Most of the lines of a column of numbers are narrower, in line heights.
_NARROW = 3.5
#: A full line takes this share of its column's width; share of full lines in prose.
_FULL, _FULL_SHARE = 0.72, 0.6
#: Share of prose lines that begin with a small letter, from which they are prose for sure, and
#: below which they are none.
_RUNS_ON, _RUNS_NOT = 0.4, 0.15
#: Distance of the lines of a note in line heights.
_NOTE_STEP = 1.8
#: Share of numbers from which a side is a column of numbers.
_NUMBERS = 0.4

_NUMBER = re.compile(r"[^\w]*(?:[A-Z]{1,3}[^\w]*)?\d[\d\W]*(?:[A-Za-z%]{1,9}[\d\W]*)?")


class Sides(Enum):
    """What the two sides of a gutter are."""

    COLUMNS = "columns"
    ROWS = "rows"
    UNSURE = "unsure"
    ONE = "one side is empty"


def sides(left: Sequence[Box], right: Sequence[Box]) -> Sides:
    """Judge the lines of a block left and right of a gutter."""
    if not left or not right:
        return Sides.ONE
    prose = [prose_like(side) for side in (left, right)]
    few = min(len(left), len(right))
    if all(prose):
        return Sides.COLUMNS
    if any(numeric(side) > _NUMBERS or _narrow(side) for side in (left, right)):
        return Sides.ROWS
    if few == 1:
        return Sides.UNSURE
    if any(_labels(side) for side in (left, right)):
        return Sides.ROWS
    if few == 2:
        return Sides.UNSURE
    if aligned_share(left, right) < _ALIGNED_SHARE:
        return Sides.COLUMNS
    beside_prose = any(prose) and _note(right if prose[0] else left)
    return Sides.COLUMNS if beside_prose else Sides.ROWS


def prose_like(lines: Sequence[Box]) -> bool:
    """Whether lines below each other run on."""
    if len(lines) < 2 or numeric(lines) > _NUMBERS:
        return False
    height = median_height(lines)
    start = at_share(0.1, [box.x0 for box in lines])
    width = at_share(0.9, [box.x1 for box in lines]) - start
    if width < _PROSE_WIDTH * height:
        return False
    full = sum(box.width >= _FULL * width for box in lines) / len(lines)
    begins = [begun for box in lines if (begun := _begins_small(box.text)) is not None]
    if len(begins) < max(2, len(lines) // 2):
        return len(lines) > 2 and full >= _FULL_SHARE
    runs_on = sum(begins) / len(begins)
    if runs_on >= _RUNS_ON:
        return True
    return runs_on > _RUNS_NOT and full >= _FULL_SHARE


def _begins_small(text: str | None) -> bool | None:
    """Whether a line begins with a small letter; None: its script has none, or unknown."""
    first = next((letter for letter in text or "" if letter.isalnum()), "")
    if first.isdigit():
        return False
    return first.islower() if first.islower() or first.isupper() else None


def _labels(lines: Sequence[Box]) -> bool:
    """Whether most lines end in a colon, as the labels of a form do."""
    ends = [(box.text or "").rstrip()[-1:] in (":", "\uff1a") for box in lines]
    return 2 * sum(ends) > len(lines)


def _narrow(lines: Sequence[Box]) -> bool:
    """Whether most lines are as short as numbers and labels."""
    return at_share(0.7, [box.width for box in lines]) < _NARROW * median_height(lines)


def numeric(lines: Sequence[Box]) -> float:
    """Share of lines that are numbers, prices or dates; 0 if texts are unknown."""
    return sum(bool(_NUMBER.fullmatch(box.text or "")) for box in lines) / len(lines)


def aligned_share(left: Sequence[Box], right: Sequence[Box]) -> float:
    """Share of the lines of the shorter side that have an aligned line on the other one.

    A small common offset counts as skew that the page's angle left: 0.6 degrees are a fifth of a
    line's height over 500 pixels.
    """
    few, many = sorted((left, right), key=len)
    mine = np.array([(box.y0, box.y, box.y1) for box in few])
    theirs = np.array([(box.y0, box.y, box.y1) for box in many])
    height = median_height(few)
    off = mine[:, None] - theirs[None, :]
    nearest = off[np.arange(len(few)), np.abs(off[:, :, 1]).argmin(axis=1)]
    off -= np.clip(np.median(nearest), -_ALIGNED * height, _ALIGNED * height)
    return float(np.mean(np.abs(off).min(axis=(1, 2)) < _ALIGNED * height))


def _note(lines: Sequence[Box]) -> bool:
    """Whether lines are a note: wide, and without empty rows as between labels of paragraphs."""
    height = median_height(lines)
    steps = [low - high for high, low in pairwise(sorted(box.y for box in lines))]
    wide = at_share(0.5, [box.width for box in lines]) > _PROSE_WIDTH * height
    return wide and at_share(0.5, steps) < _NOTE_STEP * height
