"""Which characters of a PDF page are in its text layer but not seen. Child process only."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from pipelines.pages.text_layer.drawn import Texts, unseen
from pipelines.pages.text_layer.lines import Box, Run, Sight, address_of, runs_of

Matrix = tuple[float, float, float, float, float, float]  #: a, b, c, d, e, f of PDF

_INVISIBLE = (pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP)
_CELLS = 512  # grid cells per side of the page, to find text beneath images
_MAX_NESTING = 8  # form objects within form objects


@dataclass(frozen=True)
class HiddenText:
    """Addresses of text objects (`lines.address_of`) that a viewer does not show.

    `whole`: no character is seen; the object can be removed without a change of the page. `partly`:
    some characters are seen, others not.
    """

    whole: frozenset[int]
    partly: frozenset[int]


def hidden_objects(page: pdfium.PdfPage) -> HiddenText:
    """The hidden text objects of a page, also those within form objects.

    The cause may be an invisible render mode, a box or a picture over the text, a layer that is
    off, a clip path, no contrast, or a place outside of the page.
    """
    with closing(page.get_textpage()) as textpage:
        runs = list(runs_of(textpage))
    hidden: set[int] = set()
    seen: set[int] = set()
    for sight, part in parts_of(page, runs):
        (seen if sight is Sight.SEEN else hidden).update(g.owner for g in part.glyphs if g.box)
    return HiddenText(frozenset(hidden - seen), frozenset(hidden & seen))


def parts_of(page: pdfium.PdfPage, runs: Sequence[Run]) -> Iterator[tuple[Sight, Run]]:
    """The runs of a page, split where the sight of their characters changes."""
    for run, sights in zip(runs, _Objects(page).sights(runs), strict=True):
        yield from run.split(sights)


class _Objects:
    """The page objects of a page, and how they hide each other."""

    def __init__(self, page: pdfium.PdfPage) -> None:
        self._page = page
        self._invisible: set[int] = set()
        self._order: dict[int, int] = {}
        self._others: list[int] = []
        left, bottom, right, top = page.get_bbox()
        self._left, self._columns = left, _CELLS / ((right - left) or 1)
        self._bottom, self._rows = bottom, _CELLS / ((top - bottom) or 1)
        #: For each cell of the page: position of its last image in the drawing order; -1: none.
        self._image = np.full((_CELLS, _CELLS), -1, np.int32)
        #: The same for filled boxes.
        self._box = np.full((_CELLS, _CELLS), -1, np.int32)
        self._count = 0
        for index in range(pdfium_c.FPDFPage_CountObjects(page)):
            self._add(pdfium_c.FPDFPage_GetObject(page, index), ())

    def _add(self, item: Any, within: tuple[Matrix, ...]) -> None:
        """`within`: matrices of the form objects around `item`, the innermost first."""
        self._count += 1
        kind = pdfium_c.FPDFPageObj_GetType(item)
        if kind == pdfium_c.FPDF_PAGEOBJ_TEXT:
            self._order[address_of(item)] = self._count
            if _is_invisible(item):
                self._invisible.add(address_of(item))
        elif kind == pdfium_c.FPDF_PAGEOBJ_FORM:
            if len(within) < _MAX_NESTING:
                around = (_matrix(item), *within)
                for index in range(pdfium_c.FPDFFormObj_CountObjects(item)):
                    self._add(pdfium_c.FPDFFormObj_GetObject(item, index), around)
        else:
            self._others.append(address_of(item))
            if kind == pdfium_c.FPDF_PAGEOBJ_IMAGE:
                self._paint(self._image, _bounds(item, within))
            elif kind == pdfium_c.FPDF_PAGEOBJ_PATH and _is_filled_box(item):
                self._paint(self._box, _bounds(item, within))

    def _paint(self, grid: npt.NDArray[np.int32], bounds: Box) -> None:
        left, bottom, right, top = bounds
        (x0, y0), (x1, y1) = self._cell(left, bottom), self._cell(right, top)
        grid[y0:y1, x0:x1] = self._count

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        """Column and row (0 .. _CELLS) of a point."""
        column = round((x - self._left) * self._columns)
        row = round((y - self._bottom) * self._rows)
        return min(max(column, 0), _CELLS), min(max(row, 0), _CELLS)

    def sights(self, runs: Sequence[Run]) -> list[list[Sight]]:
        """For each run, the sight of each glyph that has a box."""
        glyphs = [(glyph.owner, glyph.box) for run in runs for glyph in run.glyphs if glyph.box]
        owners = np.array([owner for owner, _ in glyphs], np.int64)
        hidden = np.isin(owners, list(self._invisible))
        asked = ~hidden & (owners != 0)
        if asked.any():
            boxes = np.array([box for _, box in glyphs], np.float64)
            silent = sorted(self._order.keys() - set(owners.tolist()))
            texts = Texts(boxes[asked], owners[asked], silent, self._others)
            hidden[asked] = unseen(self._page, texts)
        every = iter(
            (Sight.OCR if self._is_ocr(*glyph) else Sight.HIDDEN) if dark else Sight.SEEN
            for glyph, dark in zip(glyphs, hidden.tolist(), strict=True)
        )
        return [list(islice(every, run.chars)) for run in runs]

    def _is_ocr(self, owner: int, box: Box) -> bool:
        """Whether a hidden character is invisible or beneath an image, and no box is over both."""
        order = self._order.get(owner)
        if order is None:
            return False
        x, y = self._cell((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        cell = min(y, _CELLS - 1), min(x, _CELLS - 1)
        image, cover = int(self._image[cell]), int(self._box[cell])
        return max(image, order) > cover and (owner in self._invisible or image > order)


def _is_invisible(item: Any) -> bool:
    if pdfium_c.FPDFTextObj_GetTextRenderMode(item) in _INVISIBLE:
        return True
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    known = pdfium_c.FPDFPageObj_GetFillColor(item, red, green, blue, alpha)
    return bool(known) and alpha.value == 0


def _is_filled_box(item: Any) -> bool:
    """Whether the path is an upright rectangle that is filled without transparency."""
    mode, stroked = ctypes.c_int(), ctypes.c_int()
    pdfium_c.FPDFPath_GetDrawMode(item, mode, stroked)
    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    pdfium_c.FPDFPageObj_GetFillColor(item, red, green, blue, alpha)
    count = pdfium_c.FPDFPath_CountSegments(item)
    if mode.value == 0 or alpha.value < 255 or not 4 <= count <= 5:
        return False
    x, y = ctypes.c_float(), ctypes.c_float()
    points = set()
    for index in range(count):
        segment = pdfium_c.FPDFPath_GetPathSegment(item, index)
        pdfium_c.FPDFPathSegment_GetPoint(segment, x, y)
        points.add((x.value, y.value))
    columns, rows = {p[0] for p in points}, {p[1] for p in points}
    return len(points) == 4 and len(columns) == len(rows) == 2


def _matrix(form: Any) -> Matrix:
    matrix = pdfium_c.FS_MATRIX()
    pdfium_c.FPDFPageObj_GetMatrix(form, matrix)
    return matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f


def _bounds(item: Any, within: tuple[Matrix, ...]) -> Box:
    """In points of the page."""
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    pdfium_c.FPDFPageObj_GetBounds(item, left, bottom, right, top)
    corners = [(x.value, y.value) for x in (left, right) for y in (bottom, top)]
    for a, b, c, d, e, f in within:
        corners = [(a * x + c * y + e, b * x + d * y + f) for x, y in corners]
    columns, rows = zip(*corners, strict=True)
    return min(columns), min(rows), max(columns), max(rows)
