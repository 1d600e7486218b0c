"""How many pixels a page of a PDF gets. Child process only.

Usually `dpi` decides. A page that is a scan has pixels of its own: more would be made up, and with
fewer some would be lost. The reader's errors hardly depend on it, so files and time set the limit.
Five pages, scanned in gray with noise:

    dpi             150     200     300     400     600
    CER           5.7 %   5.7 %   5.8 %   5.8 %   5.7 %
    s per page      3.9     4.1     4.3     4.6     4.8
    MB per page       1       2       5       8      20
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from pipelines.pages.page import RenderOptions, too_many_pixels
from pipelines.pages.pdf.matrix import Matrix, matrix_of

_POINTS_PER_INCH = 72
#: Share of the page that pictures of one resolution cover, if it is a scan.
_MOST = 0.5
#: Pixels of A4 at 300 dpi. A scan keeps so many, however small its page claims to be.
_PLENTY = 2480 * 3508
#: Square points of A3, the largest page of common scanners. A scan that claims to be larger has a
#: wrong resolution, or none ("72 dpi"), and gets its own pixels and no more.
_A3 = 842 * 1191
_FEWEST = 1_000_000  # pixels of such a page
_ALIKE = 1.03  # resolutions of the strips or tiles of one scan
_MOST_NESTING = 8  # form objects within form objects
#: Paths on a page that is nothing but a scan: scanners draw the white paper below it.
_MOST_PATHS = 4
#: 1 - this: pdfium rounds sizes up, and 2480.0001 would be 2481 pixels.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class PageSize:
    """`scale`: pixels per point of pdfium; `width` and `height`: pixels."""

    scale: float
    width: int
    height: int


def page_size(page: pdfium.PdfPage, unit: float, options: RenderOptions) -> PageSize:
    """The size at which a page is drawn. Raises ItemFailure(TOO_MANY_PIXELS).

    A page with a UserUnit above 1 is never too large: it gets `max_pixels`.

    Args:
        page: the page.
        unit: its UserUnit, which pdfium ignores: its points are 1/72 inch times this.
        options: `dpi`; `max_dpi`, which limits scans; `max_pixels`; `oversize`.
    """
    points = page.get_size()
    area = max(1e-6, points[0] * points[1])
    usual = options.dpi / _POINTS_PER_INCH * unit
    scale = usual if options.max_dpi is None else _of_scan(page, area, usual, unit, options.max_dpi)
    width, height = (math.ceil(side * scale) for side in points)
    if width * height <= options.max_pixels:
        return PageSize(scale, width, height)
    inches = " x ".join(f"{side * unit / _POINTS_PER_INCH:.0f}" for side in points)
    if options.oversize == "fail" and unit <= 1:
        what = f"page of {inches} inches at {scale / unit * _POINTS_PER_INCH:.0f} dpi"
        raise too_many_pixels(width, height, options, what)
    scale = _most(options.max_pixels, area)
    scale *= 1 - 1 / (scale * min(points))  # one pixel less, because sides are rounded up
    return PageSize(scale, math.ceil(points[0] * scale), math.ceil(points[1] * scale))


def _most(pixels: int, area: float) -> float:
    """The scale at which a page of `area` points has so many pixels."""
    return math.sqrt(pixels / area)


def _of_scan(page: pdfium.PdfPage, area: float, usual: float, unit: float, max_dpi: int) -> float:
    own = _scale_of_scan(page, area)
    if own is None:
        return usual
    if own.scale > usual:
        most = max(max_dpi / _POINTS_PER_INCH * unit, _most(_PLENTY, area))
        return max(usual, min(own.scale, most))
    wrong = own.alone and area * unit**2 > _A3
    return min(usual, max(own.scale, _most(_FEWEST, area))) if wrong else usual


@dataclass(frozen=True)
class _Scan:
    scale: float  #: pixels per point
    alone: bool  #: nothing else is on the page


def _scale_of_scan(page: pdfium.PdfPage, area: float) -> _Scan | None:
    """The finest resolution of pictures that cover most of the page."""
    pictures: list[tuple[float, float]] = []
    paths = texts = 0
    for item, matrix in _objects(page):
        kind = pdfium_c.FPDFPageObj_GetType(item)
        if kind == pdfium_c.FPDF_PAGEOBJ_IMAGE:
            pictures.append(_picture(item, matrix, page.get_bbox()))
        elif kind == pdfium_c.FPDF_PAGEOBJ_TEXT:
            invisible = pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE
            texts += pdfium_c.FPDFTextObj_GetTextRenderMode(item) != invisible
        else:
            paths += 1
    for finest, _ in sorted(pictures, reverse=True):
        covered = sum(part for scale, part in pictures if finest / _ALIKE <= scale <= finest)
        if covered >= _MOST * area:
            return _Scan(finest * (1 - _ROUNDING), not texts and paths <= _MOST_PATHS)
    return None


def _objects(page: pdfium.PdfPage) -> Iterator[tuple[Any, Matrix]]:
    """The page objects and their matrices (3, 3), row vectors, also within form objects."""
    todo = [
        (pdfium_c.FPDFPage_GetObject(page, index), np.eye(3), 0)
        for index in range(pdfium_c.FPDFPage_CountObjects(page))
    ]
    while todo:
        item, outer, depth = todo.pop()
        if pdfium_c.FPDFPageObj_GetType(item) != pdfium_c.FPDF_PAGEOBJ_FORM:
            yield item, outer
        elif depth < _MOST_NESTING:
            inner = matrix_of(item) @ outer
            todo += [
                (pdfium_c.FPDFFormObj_GetObject(item, index), inner, depth + 1)
                for index in range(pdfium_c.FPDFFormObj_CountObjects(item))
            ]


def _picture(
    item: Any, outer: Matrix, visible: tuple[float, float, float, float]
) -> tuple[float, float]:
    """(pixels per point, points of the visible page that it covers)."""
    wide, high = ctypes.c_uint(), ctypes.c_uint()
    pdfium_c.FPDFImageObj_GetImagePixelSize(item, wide, high)
    corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]) @ matrix_of(item) @ outer
    origin, right, top = corners[:3, :2]
    lengths = np.linalg.norm([right - origin, top - origin], axis=1)
    if lengths.min() <= 0:
        return 0.0, 0.0
    scale = float(max(wide.value / lengths[0], high.value / lengths[1]))
    low = np.maximum(corners[:, :2].min(axis=0), visible[:2])
    sides = np.minimum(corners[:, :2].max(axis=0), visible[2:]) - low
    return scale, float(np.prod(np.maximum(sides, 0)))
