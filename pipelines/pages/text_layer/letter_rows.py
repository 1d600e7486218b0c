"""Rows of letters in the picture of a page: text that no text layer holds. Child process only.

A row is a chain of neighbouring shapes of one size that stand on one line and differ in width, as
letters do. Photos, plots, drawings, rules, bar codes, patterns and most logos have no such rows.
Letters may be darker or lighter than what is around them, and rows may be upright, turned or
skewed. Measured on 148 made pages and 233 public ones (test files of pdfplumber and py-pdf; those
with any row, or refused before, were looked at). Pages that `native_text.decide` takes the wrong
way:

    native text and photos                          0 of 26
    native text and plots with native labels        0 of 19
    codes, patterns, forms, maps, logos, tables     0 of 40
    scans with a native stamp                       0 of 20
    pictures of text, outlines, screenshots         2 of 43 (tiles of a shop, with words of 2 to 8
                                                    letters; handwriting)
    public pages                                    0 of 233; 11 lack text and are refused

Raster plots keep their page's layer (17 of 18), although their labels are not in it: a title of
three words is no line. So does a photo with a short sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from pipelines.pages.text_layer.letter_shapes import Ints, Shapes, chains_of, shapes_in

Floats = npt.NDArray[np.float64]

_LETTERS = 7  # of a row; texture has chains of up to 6
#: A line of text is 15 times as long as its letters are high, about three words.
_LINE = 15
_LINE_LETTERS = 20  # on the page, before a single row counts
_LETTERS_OF_LINES = 45  # of shorter rows together, which make a line
_WORDS_OF_LINES = 24  # words of 3 to 6 letters, as in tables of numbers
_LEAST_WIDTH = 3.2  # pixels: narrower letters are not readable


@dataclass(frozen=True)
class UnreadText:
    """Letter shapes in rows."""

    letters: int = 0
    lines: int = 0  #: long rows, or 45 letters of shorter ones, or 24 short words
    area: float = 0.0  #: of the letters' boxes, in pixels


def unread_text(gray: MatLike, outside: MatLike) -> UnreadText:
    """The rows of letters in `gray`, uint8 (H, W), where `outside`, uint8 (H, W), is not 0.

    The stronger of dark and light letters counts, and of upright and turned rows, because the
    spaces between the letters of one kind look like letters of the other. 45 ms for A4 at 144 dpi.
    """
    found = []
    for operation in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
        shapes = shapes_in(gray, outside, operation)
        found += [_rows(shapes), _rows(shapes.turned())]
    return max(found, key=lambda one: (one.lines, one.letters))


def _rows(shapes: Shapes) -> UnreadText:
    ids = np.flatnonzero(shapes.letter_like())
    if len(ids) < _LETTERS:
        return UnreadText()
    chains = _measured(shapes, ids, chains_of(shapes)[ids])
    rows, words = _is_row(chains), _is_short_word(chains)
    if words.sum() >= _WORDS_OF_LINES:
        rows |= words
    letters = int(chains.letters[rows].sum())
    long = int((chains.length[rows] >= _LINE).sum()) if letters >= _LINE_LETTERS else 0
    lines = max(long, letters // _LETTERS_OF_LINES, int(words.sum()) // _WORDS_OF_LINES)
    return UnreadText(letters, lines, float(chains.area[rows].sum()))


class _Chains(NamedTuple):
    """Measurements of chains of shapes, (n,) each. A spread is a standard deviation / mean."""

    letters: Ints
    length: Floats  #: in heights
    area: Floats  #: of the boxes of its shapes, pixels
    off_line: Floats  #: see `_off_line`
    height: Floats  #: mean, pixels
    shape: Floats  #: mean width / height
    uneven_height: Floats  #: spread
    uneven_width: Floats  #: spread
    change: Floats  #: mean difference between neighbours in their ink / mean ink
    fill: Floats  #: ink / area


def _is_row(chains: _Chains) -> npt.NDArray[np.bool_]:
    patterned = (chains.uneven_width < 0.15) & (chains.uneven_height < 0.1)
    return (
        (chains.letters >= _LETTERS)
        & (chains.off_line < 0.2)
        & (chains.uneven_height < 0.32)
        & (chains.uneven_width < 0.9)
        & (chains.change > 0.23)  # letters differ, marks of a pattern do not
        & ~patterned
        & (chains.fill < 0.82)  # bars are filled
        & (chains.shape > 0.35)
        & (chains.shape < 1.9)
        & (chains.shape * chains.height > _LEAST_WIDTH)
    )


def _is_short_word(chains: _Chains) -> npt.NDArray[np.bool_]:
    """Numbers and words of 3 to 6 letters in the cells of a table; stricter, as chance has more."""
    return (
        (chains.letters >= 3)
        & (chains.letters < _LETTERS)
        & (chains.off_line < 0.06)
        & (chains.uneven_height < 0.15)
        & (chains.uneven_width < 0.5)
        & (chains.change > 0.1)
        & (chains.fill < 0.8)
        & (chains.shape > 0.35)
        & (chains.shape < 1.3)
        & (chains.shape * chains.height > _LEAST_WIDTH)
    )


def _measured(shapes: Shapes, ids: Ints, chain: Ints) -> _Chains:
    """`ids`: the letter-like shapes, `chain`: the chain of each."""
    _, row, count = np.unique(chain, return_inverse=True, return_counts=True)
    middle = shapes.x[ids] + shapes.width[ids] / 2
    order = np.lexsort((middle, row))
    ids, row, middle = ids[order], row[order], middle[order]
    width, height, area = (values[ids].astype(np.float64) for values in shapes[3:])

    def mean(values: Floats) -> Floats:
        return np.bincount(row, values, len(count)) / count

    def spread(values: Floats) -> Floats:
        return np.sqrt(np.maximum(0, mean(values**2) - mean(values) ** 2)) / mean(values)

    starts = np.searchsorted(row, np.arange(len(count)))
    ends = np.maximum.reduceat(shapes.x[ids] + width, starts)
    change = np.abs(np.diff(area, prepend=area[:1])) * (row == np.roll(row, 1))
    return _Chains(
        letters=count,
        length=(ends - shapes.x[ids][starts]) / mean(height),
        area=mean(width * height) * count,
        off_line=_off_line(row, count, middle, shapes.y[ids], height),
        height=mean(height),
        shape=mean(width / height),
        uneven_height=spread(height),
        uneven_width=spread(width),
        change=mean(change) / mean(area),
        fill=mean(area) / mean(width * height),
    )


def _off_line(row: Ints, count: Ints, x: Floats, top: Ints, height: Floats) -> Floats:
    """Mean distance in heights of tops, feet or middles from a line, the best of the three.

    `row`: of each shape, ascending; `count`: shapes of each row. Rows that rise by more than 15 %
    get infinity.
    """
    size = len(count)

    def mean(values: Floats) -> Floats:
        return np.bincount(row, values, size) / count

    along = x - mean(x)[row]
    variance = np.maximum(mean(along**2), 1e-9)
    best = np.full(size, np.inf)
    for part in (0.0, 0.5, 1.0):
        edge = top + part * height
        across = edge - mean(edge)[row]
        slope = mean(along * across) / variance
        away = mean(np.abs(across - slope[row] * along)) / mean(height)
        best = np.minimum(best, np.where(np.abs(slope) < 0.15, away, np.inf))
    return best
