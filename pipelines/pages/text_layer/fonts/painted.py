"""Looks of the characters of Type 3 fonts, cut out of the rendered page. Child process only.

Such a font has drawing operators for each character, often pictures, and no outlines.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable

import cv2
import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from cv2.typing import MatLike

from pipelines.pages.text_layer.fonts.drawn import Look
from pipelines.pages.text_layer.fonts.outlines import SIDE, Box, Floats, vector
from pipelines.pages.text_layer.fonts.templates import templates
from pipelines.pages.text_layer.lines import Glyph, Projection

#: Pixels per point: an x of 8 pt is 16 pixels high. Large pages are rendered at less.
_SCALE, _MOST_PIXELS = 4.0, 20_000_000
#: Height of capitals and ascenders in em; most texts have some. Type 3 fonts name no size that
#: could be relied on: those of TeX count in dots of a printer.
_CAPITALS, _TOP_SHARE = 0.72, 90
_FAINT = 0.5  # of the contrast of a character's darkest pixel
_SMALLEST = 4  # pixels


class Painted:
    """The characters of one page, rendered once: 30 ms for A4."""

    def __init__(self, page: pdfium.PdfPage, textpage: pdfium.PdfTextPage) -> None:
        wide, high = page.get_size()
        self._scale = min(_SCALE, math.sqrt(_MOST_PIXELS / max(1.0, wide * high)))
        self._projection = Projection.of(page, self._scale)
        self._textpage = textpage
        pixels: MatLike = page.render(scale=self._scale, grayscale=True).to_numpy()
        self._pixels = pixels.reshape(pixels.shape[:2])

    def looks(self, claims: Iterable[Glyph]) -> dict[str, Look]:
        """Looks of the upright characters of one font."""
        cut = {chr(claim.code): found for claim in claims if (found := self._cut(claim))}
        if not cut:
            return {}
        tops = [top for _, (_, _, _, top) in cut.values()]
        em = max(float(np.percentile(tops, _TOP_SHARE)) / _CAPITALS, 1e-3)
        looks = {}
        for char, (picture, (left, bottom, right, top)) in cut.items():
            box = left / em, bottom / em, right / em, top / em
            looks[char] = Look(box, templates().projected(vector(picture, box)))
        return looks

    def _cut(self, claim: Glyph) -> tuple[Floats, Box] | None:
        """The picture (SIDE, SIDE) of a character, and its box in points from its origin."""
        matrix = pdfium_c.FS_MATRIX()
        pdfium_c.FPDFText_GetMatrix(self._textpage, claim.place, matrix)
        if claim.box is None or self._projection.rotation or matrix.b or matrix.c:
            return None
        left, top, right, bottom = self._projection(claim.box)
        if not math.isfinite(left + top + right + bottom):
            return None
        rows = slice(max(0, math.floor(top)), max(0, math.ceil(bottom)))
        columns = slice(max(0, math.floor(left)), max(0, math.ceil(right)))
        ink = _ink(self._pixels[rows, columns])
        if ink is None:
            return None
        picture, (x0, y0, x1, y1) = ink
        x, y = ctypes.c_double(), ctypes.c_double()
        pdfium_c.FPDFText_GetCharOrigin(self._textpage, claim.place, x, y)
        edge_left, _, _, edge_top = self._projection.bounds
        to_points = 1 / self._scale
        across = edge_left - x.value + to_points * columns.start
        upwards = edge_top - y.value - to_points * rows.start
        left, right = across + to_points * x0, across + to_points * x1
        bottom, top = upwards - to_points * y1, upwards - to_points * y0
        return picture, (left, bottom, right, top)


def _ink(pixels: MatLike) -> tuple[Floats, tuple[int, int, int, int]] | None:
    """Coverage 0..1 (SIDE, SIDE) of what differs from paper, and its box in pixels."""
    if min(pixels.shape) < 1 or pixels.size < _SMALLEST:
        return None
    contrast = 255.0 - pixels.astype(np.float32)
    if contrast.max() < 32:  # nothing, or a faint colour
        return None
    coverage = contrast / contrast.max()
    rows = np.flatnonzero(coverage.max(axis=1) > _FAINT)
    columns = np.flatnonzero(coverage.max(axis=0) > _FAINT)
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    picture = cv2.resize(coverage[y0:y1, x0:x1], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return picture.astype(np.float64), (x0, y0, x1, y1)
