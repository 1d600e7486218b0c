"""Make a searchable PDF of a document and its lines. Runs in the sandbox's child process only.

This is a renderer of `pipelines.pages.sandbox`. Its document is a job (`packed`). The image of its
only page is the PDF together with a report.

pdfium does the work. The streams of a PDF's pages are copied, and the text becomes a separate
stream after them (pdfium restores the graphics state before it). Passwords are kept.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from actors.failures import FailureKind, ItemFailure
from pipelines.export.pdf import glyphless_font as glyphless
from pipelines.export.pdf.job import packed, unpacked
from pipelines.export.pdf.of_images import pdf_of_images
from pipelines.export.text_layout import Point, Quad, advance, box_of, part_of, quad_of, runs_of
from pipelines.pages.page import Page, RenderOptions, sniff, unsupported
from pipelines.pages.pdf import count_pdf_pages

_LEAST_POINTS = 0.1  # a line without width or height has no invertible matrix


def count_pages(data: bytes, options: RenderOptions) -> int:
    """Always 1: a job has one answer."""
    return 1


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    """The answer to a job.

    `data` is `packed`: the document, and ``{"pages": [{"page", "width", "height", "lines"}]}``,
    with lines ``[text, polygon]`` in pixels of the upright page. The answer's `image` is `packed`:
    the PDF, and ``{"pages", "lines", "there", "bare": {page: reason}}``: pages of the PDF, lines
    added, lines left out because the page already has the same text at their position, and pages
    without text or picture.

    Raises ItemFailure: the kinds of `pipelines.pages.render.count_pages`, TOO_MANY_PIXELS.
    """
    job, document = unpacked(data)
    kind = sniff(document)
    if kind == "unknown":
        raise unsupported()
    bare: dict[int, str] = {}
    if kind == "pdf":
        count_pdf_pages(document, options)  # raises the same failures as in the run
    else:
        document, bare = pdf_of_images(document, kind, job["pages"], options)
    answer, file = with_text(document, job["pages"], options.passwords)
    answer["bare"] = {**answer["bare"], **bare}
    return Page(image=packed(answer, file), width=1, height=1)


def with_text(
    document: bytes, pages: Sequence[Mapping[str, Any]], passwords: Sequence[str] = ()
) -> tuple[dict[str, Any], bytes]:
    """(report, PDF with invisible text). Arguments as in `render_page`.

    Without additions the document is returned unchanged, byte for byte.
    """
    answer: dict[str, Any] = {"lines": 0, "there": 0, "bare": {}}
    written = [page for page in pages if page["lines"]]
    with closing(_opened(document, passwords)) as pdf:
        answer["pages"] = len(pdf)
        if written:
            font = _Font(pdf, [text for page in written for text, _ in page["lines"]])
            for page in written:
                _add_page(pdf, page, font, answer)
            font.close()
        if not answer["lines"]:
            return answer, document
        file = io.BytesIO()
        pdf.save(file)
    return answer, file.getvalue()


def _add_page(
    pdf: pdfium.PdfDocument, page: Mapping[str, Any], font: _Font, answer: dict[str, Any]
) -> None:
    """Write the lines of one page and count them in `answer`."""
    if page["page"] > len(pdf):
        answer["bare"][page["page"]] = "the document has no such page"
        return
    try:
        with closing(pdf[page["page"] - 1]) as loaded:
            placed, there = _write_page(loaded, page, font)
    except pdfium.PdfiumError as error:
        answer["bare"][page["page"]] = str(error)
    else:
        answer["lines"] += placed
        answer["there"] += there


def _opened(document: bytes, passwords: Sequence[str]) -> pdfium.PdfDocument:
    for password in (None, *passwords):
        try:
            return pdfium.PdfDocument(document, password=password)
        except pdfium.PdfiumError as error:
            if error.err_code not in (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY):
                raise ItemFailure(FailureKind.CORRUPT_PDF, str(error)) from error
    raise ItemFailure(FailureKind.ENCRYPTED_PDF, f"{len(passwords)} passwords tried")


class _Font:
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


def _write_page(page: pdfium.PdfPage, wanted: Mapping[str, Any], font: _Font) -> tuple[int, int]:
    """Write lines on a page: (lines written, lines that the page already has)."""
    to_points = _Projection(page, wanted["width"], wanted["height"])
    placed = there = 0
    with closing(page.get_textpage()) as textpage:
        has_text = textpage.count_chars() > 0
        for text, polygon in wanted["lines"]:
            quad = to_points(quad_of(polygon, text))
            if has_text and _is_there(textpage, quad, text):
                there += 1
                continue
            _write_line(page, text, quad, font)
            placed += 1
    if placed and not pdfium_c.FPDFPage_GenerateContent(page):
        raise pdfium.PdfiumError("pdfium cannot write the content of the page")
    return placed, there


class _Projection:
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


def _is_there(textpage: pdfium.PdfTextPage, quad: Quad, text: str) -> bool:
    """True if the page already has this text at this position, as drawn or from earlier OCR."""
    x0, y0, x1, y1 = box_of(quad)
    found = _essence(textpage.get_text_bounded(x0, y0, x1, y1))
    return bool(found) and found == _essence(text)


def _essence(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _write_line(page: pdfium.PdfPage, text: str, quad: Quad, font: _Font) -> None:
    """One text object for each run of one direction, scaled to its part of the quad."""
    for run in sorted(runs_of(text), key=lambda run: run.left):
        codes = [font.codes[char] for char in text[run.start : run.end] if char in font.codes]
        width = sum(advance(char) for char in text[run.start : run.end]) / 1000
        if not codes or not width:
            continue
        a, b, c, d = part_of(quad, run.left, run.right)
        if run.rtl:  # mirrored, so that the pen moves left, as in Tesseract; pdfium supports it
            a, b, c, d = b, a, d, c
        _write_run(page, codes, width, (a, b, c, d), font)


def _write_run(
    page: pdfium.PdfPage, codes: list[int], width: float, quad: Quad, font: _Font
) -> None:
    """Write one text object. `width`: of its characters at font size 1."""
    a, b, c, d = quad
    along = ((b[0] - a[0] + c[0] - d[0]) / 2, (b[1] - a[1] + c[1] - d[1]) / 2)
    up = ((a[0] - d[0] + b[0] - c[0]) / 2, (a[1] - d[1] + b[1] - c[1]) / 2)
    size = max(_length(up), _LEAST_POINTS)
    if _length(along) < _LEAST_POINTS or _length(up) < _LEAST_POINTS:
        return
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


def _length(vector: Point) -> float:
    return float((vector[0] ** 2 + vector[1] ** 2) ** 0.5)
