"""Which characters of a PDF page are drawn but not seen. Child process only."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

Box = tuple[float, float, float, float]  #: left, bottom, right, top in points of the page

_INVISIBLE = (pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP)
_CELLS = 512  # grid cells per side of the page, to find text beneath images
_MAX_NESTING = 8  # form objects within form objects


class Visibility:
    """Finds text that is invisible, or beneath an image that is drawn later."""

    def __init__(self, page: pdfium.PdfPage) -> None:
        self._invisible: set[int | None] = set()
        self._order: dict[int | None, int] = {}
        left, bottom, right, top = page.get_bbox()
        self._left, self._columns = left, _CELLS / ((right - left) or 1)
        self._bottom, self._rows = bottom, _CELLS / ((top - bottom) or 1)
        #: For each cell of the page: position of its last image in the drawing order; -1: none.
        self._image = np.full((_CELLS, _CELLS), -1, np.int32)
        for order in range(pdfium_c.FPDFPage_CountObjects(page)):
            self._add(pdfium_c.FPDFPage_GetObject(page, order), order, depth=0)

    def _add(self, item: Any, order: int, depth: int) -> None:
        kind = pdfium_c.FPDFPageObj_GetType(item)
        if kind == pdfium_c.FPDF_PAGEOBJ_TEXT:
            self._order[_address(item)] = order
            if _is_invisible(item):
                self._invisible.add(_address(item))
        elif kind == pdfium_c.FPDF_PAGEOBJ_IMAGE and depth == 0:
            left, bottom, right, top = _bounds(item)
            (x0, y0), (x1, y1) = self._cell(left, bottom), self._cell(right, top)
            self._image[y0:y1, x0:x1] = order
        elif kind == pdfium_c.FPDF_PAGEOBJ_FORM and depth < _MAX_NESTING:
            for index in range(pdfium_c.FPDFFormObj_CountObjects(item)):
                self._add(pdfium_c.FPDFFormObj_GetObject(item, index), order, depth + 1)

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        """Column and row (0 .. _CELLS) of a point."""
        column = round((x - self._left) * self._columns)
        row = round((y - self._bottom) * self._rows)
        return min(max(column, 0), _CELLS), min(max(row, 0), _CELLS)

    def hides(self, item: Any, box: Box) -> bool:
        """Whether the character in `box` (points) of the text object `item` is hidden."""
        address = _address(item)
        if address in self._invisible:
            return True
        order = self._order.get(address)
        if order is None:
            return False
        x, y = self._cell((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        return bool(self._image[min(y, _CELLS - 1), min(x, _CELLS - 1)] > order)


def _address(item: Any) -> int | None:
    return ctypes.cast(item, ctypes.c_void_p).value


def _is_invisible(item: Any) -> bool:
    if pdfium_c.FPDFTextObj_GetTextRenderMode(item) in _INVISIBLE:
        return True
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    known = pdfium_c.FPDFPageObj_GetFillColor(item, red, green, blue, alpha)
    return bool(known) and alpha.value == 0


def _bounds(item: Any) -> Box:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    pdfium_c.FPDFPageObj_GetBounds(item, left, bottom, right, top)
    return left.value, bottom.value, right.value, top.value
