"""The text layer of a PDF page: its lines, and measurements of its quality. Child process only."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from cv2.typing import MatLike

from pipelines.pages.native_text import NO_TEXT, TextLayer, garbled_share
from pipelines.pages.page import TextLine

Box = tuple[float, float, float, float]  #: left, top, right, bottom; top < bottom in pixels

#: Pixels per point of the low-resolution image ("sketch") in which ink is measured: 72 dpi, 1 ms
#: per page. Letters of 8 pt are still separate, so a line of text does not look like a ruled line.
_SKETCH_SCALE = 1.0
#: Gray levels (0..255) between ink and paper: above the JPEG noise of scans.
_INK_CONTRAST = 32
#: Sketch pixels: straight runs of an inch or more are ruled lines and panels, not letters.
_RULE = 73  # odd, so that the morphological opening does not shift
#: Sketch pixels around a text box that belong to it (anti-aliasing).
_MARGIN = 2
_INVISIBLE = (pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP)
_CELLS = 512  # grid cells per side of the page, to find text beneath images
_MAX_NESTING = 8  # form objects within form objects
_HYPHEN = 2  # pdfium's code for a hyphen at the end of a line


@dataclass
class _Run:
    """The characters of one line, in the order of the PDF, and their boxes in points."""

    codes: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    hidden: int = 0
    unmapped: int = 0

    @property
    def text(self) -> str:
        joined = "".join(map(chr, self.codes)).encode("utf-16-le", "surrogatepass")
        return joined.decode("utf-16-le", "replace").strip()

    @property
    def box(self) -> Box:
        left, bottom, right, top = zip(*self.boxes, strict=True)
        return min(left), min(bottom), max(right), max(top)

    @property
    def chars(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class _Projection:
    """Converts points of the page to pixels of its upright image."""

    scale: float  #: pixels per point
    bounds: Box  #: left, bottom, right, top of the visible page in points
    rotation: int  #: degrees clockwise

    @classmethod
    def of(cls, page: pdfium.PdfPage, scale: float) -> _Projection:
        return cls(scale, page.get_bbox(), page.get_rotation())

    def __call__(self, box: Box) -> Box:
        """left, bottom, right, top in points -> left, top, right, bottom in pixels."""
        x0, y0, x1, y1 = box
        left, bottom, right, top = self.bounds
        turned = {
            0: (x0 - left, top - y1, x1 - left, top - y0),
            90: (y0 - bottom, x0 - left, y1 - bottom, x1 - left),
            180: (right - x1, y0 - bottom, right - x0, y1 - bottom),
            270: (top - y1, right - x1, top - y0, right - x0),
        }[self.rotation]
        a, b, c, d = (value * self.scale for value in turned)
        return a, b, c, d

    def shows(self, run: _Run) -> bool:
        """Whether the run has characters and its centre is inside the visible page."""
        if not run.boxes:
            return False
        left, bottom, right, top = run.box
        x, y = (left + right) / 2, (bottom + top) / 2
        x0, y0, x1, y1 = self.bounds
        return x0 <= x <= x1 and y0 <= y <= y1


def read(
    page: pdfium.PdfPage, scale: float, *, trust_hidden: bool
) -> tuple[list[TextLine], TextLayer]:
    """The lines in the order of the PDF, and the measurements for `native_text.decide`.

    Polygons are upright boxes, in pixels of the page rendered at `scale` pixels per point.
    """
    to_pixels = _Projection.of(page, scale)
    with closing(page.get_textpage()) as textpage:
        runs = [run for run in _runs(textpage, _Visibility(page)) if to_pixels.shows(run)]
    if not runs:
        return [], NO_TEXT
    scale_of_sketch = min(_SKETCH_SCALE, scale)
    to_sketch = _Projection.of(page, scale_of_sketch)
    sketch = _sketch(page, scale_of_sketch, annotations=True)
    visible = [
        run
        for run in runs
        if 2 * run.hidden < run.chars and _stands_out(sketch, to_sketch(run.box))
    ]
    used = runs if trust_hidden else visible
    ink = _ink(sketch)
    layer = TextLayer(
        chars=_chars(used),
        hidden=1 - _chars(visible) / _chars(runs),
        garbled=garbled_share(
            "\n".join(run.text for run in used), sum(run.unmapped for run in used)
        ),
        coverage=_coverage(ink, [to_sketch(run.box) for run in used]),
        annotated=_annotated(page, sketch, ink, scale_of_sketch),
    )
    return [TextLine(text=run.text, polygon=_polygon(to_pixels(run.box))) for run in used], layer


def _chars(runs: list[_Run]) -> int:
    return sum(run.chars for run in runs)


def _polygon(box: Box) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]


def _runs(textpage: pdfium.PdfTextPage, visibility: _Visibility) -> Iterator[_Run]:
    """One run for each line that pdfium finds; 20 ms for 2,600 characters."""
    run = _Run()
    for index in range(textpage.count_chars()):
        code = min(pdfium_c.FPDFText_GetUnicode(textpage, index), sys.maxunicode)
        if code in (10, 13):
            yield run
            run = _Run()
            continue
        run.codes.append(ord("-") if code == _HYPHEN else code)
        if chr(code).isspace() or pdfium_c.FPDFText_IsGenerated(textpage, index) == 1:
            continue
        box = textpage.get_charbox(index)
        run.boxes.append(box)
        run.unmapped += pdfium_c.FPDFText_HasUnicodeMapError(textpage, index) == 1
        run.hidden += visibility.hides(pdfium_c.FPDFText_GetTextObject(textpage, index), box)
    yield run


class _Visibility:
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


def _sketch(page: pdfium.PdfPage, scale: float, *, annotations: bool) -> MatLike:
    """Gray image of the page, uint8 (H, W)."""
    bitmap = page.render(
        scale=scale, grayscale=True, draw_annots=annotations, may_draw_forms=annotations
    )
    pixels: MatLike = bitmap.to_numpy()
    return pixels.reshape(pixels.shape[:2])


def _ink(sketch: MatLike) -> MatLike:
    """uint8 mask (H, W): 1 where the sketch differs from paper, its most frequent gray."""
    paper = int(cv2.calcHist([sketch], [0], None, [256], [0, 256]).argmax())
    return _differs(sketch, np.full_like(sketch, paper))


def _differs(one: MatLike, other: MatLike) -> MatLike:
    return (cv2.absdiff(one, other) > _INK_CONTRAST).astype(np.uint8)


def _window(sketch: MatLike, box: Box, margin: int) -> tuple[slice, slice]:
    height, width = sketch.shape
    left, top, right, bottom = box
    rows = slice(max(0, int(top) - margin), min(height, int(np.ceil(bottom)) + margin))
    columns = slice(max(0, int(left) - margin), min(width, int(np.ceil(right)) + margin))
    return rows, columns


def _stands_out(sketch: MatLike, box: Box) -> bool:
    """Whether text is visible in the box: not painted over, not white on white."""
    window = sketch[_window(sketch, box, 0)]
    return window.size > 0 and int(window.max()) - int(window.min()) > _INK_CONTRAST


def _coverage(ink: MatLike, boxes: list[Box]) -> float:
    """Ink inside the boxes / ink on the page, without ruled lines and panels; 0 without ink."""
    outside = ink.copy()
    for box in boxes:
        outside[_window(ink, box, _MARGIN)] = 0
    inside = int(ink.sum()) - int(outside.sum())
    across = cv2.morphologyEx(outside, cv2.MORPH_OPEN, np.ones((1, _RULE), np.uint8))
    down = cv2.morphologyEx(outside, cv2.MORPH_OPEN, np.ones((_RULE, 1), np.uint8))
    unread = int(cv2.subtract(outside, cv2.max(across, down)).sum())
    return inside / max(1, inside + unread)


def _annotated(page: pdfium.PdfPage, sketch: MatLike, ink: MatLike, scale: float) -> float:
    """Share (0..1) of the ink that annotations and form fields draw."""
    if not _has_drawn_annotations(page):
        return 0.0
    bare = _sketch(page, scale, annotations=False)
    return int(_differs(sketch, bare).sum()) / max(1, int(ink.sum()))


def _has_drawn_annotations(page: pdfium.PdfPage) -> bool:
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
        pdfium_c.FPDFPage_CloseAnnot(annotation)
        if kind not in (pdfium_c.FPDF_ANNOT_LINK, pdfium_c.FPDF_ANNOT_POPUP):
            return True
    return False
