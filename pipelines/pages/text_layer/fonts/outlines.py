"""Outlines of glyphs -> vectors that can be compared. NumPy only: opens no font and no PDF.

An outline is a float array (E, 4) of straight edges x0, y0, x1, y1 in em: the baseline is y = 0 and
the font size is 1. The outline is filled by the nonzero winding rule, as PDF and OpenType do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]  #: left, bottom, right, top in em

SIDE = 16  #: rows and columns of a glyph's picture
_FINE = 3 * SIDE  # sampled lines; three per row are enough for thin strokes of display faces
#: Straight edges for a Bezier curve: at 48 lines a glyph, more change no sample.
_STEPS = 6
_T = np.linspace(0, 1, _STEPS + 1)[:, None]
_BERNSTEIN = np.hstack([(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3])
#: Weight of a length of 1 em against a pixel of the picture (0..1).
_LENGTH = 4.0
_NOTHING = 1e-4  # em
#: em added to width and height, so that the logarithm of a rule's shape stays finite.
_THIN = 0.03


def joined(lines: Floats, curves: Floats) -> Floats | None:
    """One outline of straight edges (n, 4) and cubic Bezier curves (m, 8).

    None if it encloses nothing that could be drawn.
    """
    steps = np.einsum("sp,mpa->msa", _BERNSTEIN, curves.reshape(-1, 4, 2))
    edges = np.concatenate([steps[:, :-1], steps[:, 1:]], axis=2).reshape(-1, 4)
    outline = np.vstack([lines, edges])
    if not len(outline) or not np.isfinite(outline).all():
        return None
    left, bottom, right, top = box_of(outline)
    return outline if right - left > _NOTHING and top - bottom > _NOTHING else None


def box_of(outline: Floats) -> Box:
    """The box of an outline."""
    x, y = outline[:, 0::2], outline[:, 1::2]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def features(outline: Floats) -> Floats:
    """(SIDE * SIDE + 5,): the picture of the glyph within its box, and where the box lies.

    0.15 ms.
    """
    box = box_of(outline)
    return vector(_filled(outline, box), box)


def vector(picture: Floats, box: Box) -> Floats:
    """Features of a picture: coverage 0..1 (SIDE, SIDE), top row first, and the glyph's box."""
    left, bottom, right, top = box
    width, height = right - left, top - bottom
    shape = np.log((width + _THIN) / (height + _THIN))
    place = _LENGTH * np.array([bottom, top, width, height, shape])
    return np.concatenate([picture.ravel(), place])


def _filled(outline: Floats, box: Box) -> Floats:
    """Coverage (SIDE, SIDE): the winding number is summed along 48 lines through the glyph."""
    left, bottom, right, top = box
    x0, y0, x1, y1 = outline.T
    lines = bottom + (top - bottom) * (np.arange(_FINE) + 0.5) / _FINE
    upwards = (y0[:, None] <= lines) & (lines < y1[:, None])
    downwards = (y1[:, None] <= lines) & (lines < y0[:, None])
    edge, line = np.nonzero(upwards | downwards)
    x = x0[edge] + (lines[line] - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    column = np.clip(np.ceil((x - left) / (right - left) * _FINE - 0.5), 0, _FINE).astype(int)
    turns = np.where(upwards[edge, line], 1.0, -1.0)
    crossed = np.bincount(line * (_FINE + 1) + column, turns, _FINE * (_FINE + 1))
    winding = np.cumsum(crossed.reshape(_FINE, _FINE + 1), axis=1)[:, :_FINE]
    fine = (np.abs(winding) > 0.5).reshape(SIDE, _FINE // SIDE, SIDE, _FINE // SIDE)
    picture: Floats = fine.mean(axis=(1, 3))[::-1]
    return picture
