"""Write invisible text on a page of a PDF, with pdfium. Child process only."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from actors.failures import FailureKind, ItemFailure
from pipelines.export.pdf import glyphless_font as glyphless
from pipelines.export.text_layout import Point, Quad, advance, part_of, runs_of

_LEAST_POINTS = 0.1  # a line without width or height has no invertible matrix


class Font:
    """The glyphless font of one document, with codes for the characters of `texts`."""

    def __init__(self, pdf: pdfium.PdfDocument, texts: Sequence[str]) -> None:
        self.pdf = pdf
        self.codes = glyphless.codes_of(texts)
        file, glyphs = glyphless.font_file(), glyphless.glyphs_of(self.codes)
        self._held = [(ctypes.c_ubyte * len(one)).from_buffer_copy(one) for one in (file, glyphs)]
        self.handle = pdfium_c.FPDFText_LoadCidType2Font(
            pdf,
            self._held[0],
            len(file),
            glyphless.to_unicode(self.codes),
            self._held[1],
            len(glyphs),
        )
        if not self.handle:
            raise ItemFailure(FailureKind.ENGINE_FAULT, "pdfium refuses the glyphless font")

    def close(self) -> None:
        """Release the font; objects that use it keep it alive."""
        pdfium_c.FPDFFont_Close(self.handle)


class Projection:
    """Converts pixels of a page's upright picture to points of the page."""

    def __init__(self, page: pdfium.PdfPage, width: int, height: int) -> None:
        """`width`, `height`: of the picture, in pixels."""
        self._left, self._bottom, self._right, self._top = page.get_bbox()
        self._turned = page.get_rotation()
        wide, high = page.get_size()  # upright
        self._x, self._y = wide / width, high / height

    def __call__(self, quad: Quad) -> Quad:
        a, b, c, d = (self._point(x * self._x, y * self._y) for x, y in quad)
        return a, b, c, d

    def _point(self, x: float, y: float) -> Point:
        """`x`, `y`: points from the top left corner of the upright page; y points down."""
        return {
            0: (self._left + x, self._top - y),
            90: (self._left + y, self._bottom + x),
            180: (self._right - x, self._bottom + y),
            270: (self._right - y, self._top - x),
        }[self._turned]


def write_line(
    page: pdfium.PdfPage, text: str, quad: Quad, font: Font, *, in_field: bool = False
) -> None:
    """One text object for each run of one direction, scaled to its part of the quad.

    `in_field`: the text is drawn by a form field. Programs that read fields leave ours out
    (poppler, Acrobat), because its /ActualText is empty; those that do not (pdfium, pdf.js) ignore
    that. So the value comes out once.
    """
    for run in sorted(runs_of(text), key=lambda run: run.left):
        codes = [font.codes[char] for char in text[run.start : run.end] if char in font.codes]
        width = sum(advance(char) for char in text[run.start : run.end]) / 1000
        if not codes or not width:
            continue
        a, b, c, d = part_of(quad, run.left, run.right)
        if run.rtl:  # mirrored, so that the pen moves left, as in Tesseract; pdfium supports it
            a, b, c, d = b, a, d, c
        item = _write_run(page, codes, width, (a, b, c, d), font)
        if in_field and item is not None:
            _replaced_by_nothing(font.pdf, item)


def _write_run(page: pdfium.PdfPage, codes: list[int], width: float, quad: Quad, font: Font) -> Any:
    """Write one text object, and return it. `width`: of its characters at font size 1."""
    a, b, c, d = quad
    along = ((b[0] - a[0] + c[0] - d[0]) / 2, (b[1] - a[1] + c[1] - d[1]) / 2)
    up = ((a[0] - d[0] + b[0] - c[0]) / 2, (a[1] - d[1] + b[1] - c[1]) / 2)
    size = max(_length(up), _LEAST_POINTS)
    if _length(along) < _LEAST_POINTS or _length(up) < _LEAST_POINTS:
        return None
    origin = (d[0] + glyphless.DESCENT * up[0], d[1] + glyphless.DESCENT * up[1])
    matrix = pdfium_c.FS_MATRIX(
        *(value / (width * size) for value in along), *(value / size for value in up), *origin
    )
    item = pdfium_c.FPDFPageObj_CreateTextObj(font.pdf, font.handle, size)
    done = (
        pdfium_c.FPDFText_SetCharcodes(item, (ctypes.c_uint * len(codes))(*codes), len(codes))
        and pdfium_c.FPDFTextObj_SetTextRenderMode(item, pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE)
        and pdfium_c.FPDFPageObj_SetMatrix(item, matrix)
    )
    if not done:
        pdfium_c.FPDFPageObj_Destroy(item)
        raise pdfium.PdfiumError("pdfium refuses a line of text")
    pdfium_c.FPDFPage_InsertObject(page, item)
    return item


def _replaced_by_nothing(pdf: pdfium.PdfDocument, item: Any) -> None:
    mark = pdfium_c.FPDFPageObj_AddMark(item, b"Span")
    if not mark or not pdfium_c.FPDFPageObjMark_SetStringParam(pdf, item, mark, b"ActualText", b""):
        raise pdfium.PdfiumError("pdfium refuses to mark a line of text")


def _length(vector: Point) -> float:
    return float((vector[0] ** 2 + vector[1] ** 2) ** 0.5)
