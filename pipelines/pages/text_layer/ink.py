"""The ink of a PDF page, from a low-resolution image of it. Child process only."""

from __future__ import annotations

import cv2
import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from cv2.typing import MatLike

Box = tuple[float, float, float, float]  #: left, top, right, bottom in pixels

#: Pixels per point of the low-resolution image ("sketch") in which ink is measured: 72 dpi, 1 ms
#: per page. Letters of 8 pt are still separate, so a line of text does not look like a ruled line.
SKETCH_SCALE = 1.0
#: Gray levels (0..255) between ink and paper: above the JPEG noise of scans.
_INK_CONTRAST = 32
#: Sketch pixels: straight runs of an inch or more are ruled lines and panels, not letters.
_RULE = 73  # odd, so that the morphological opening does not shift
#: Sketch pixels around a text box that belong to it (anti-aliasing).
_MARGIN = 2


def sketch_of(page: pdfium.PdfPage, scale: float, *, annotations: bool) -> MatLike:
    """Gray image of the page, uint8 (H, W)."""
    bitmap = page.render(
        scale=scale, grayscale=True, draw_annots=annotations, may_draw_forms=annotations
    )
    pixels: MatLike = bitmap.to_numpy()
    return pixels.reshape(pixels.shape[:2])


def ink_of(sketch: MatLike) -> MatLike:
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


def coverage(ink: MatLike, boxes: list[Box]) -> float:
    """Ink inside the boxes / ink on the page, without ruled lines and panels; 0 without ink."""
    outside = ink.copy()
    for box in boxes:
        outside[_window(ink, box, _MARGIN)] = 0
    inside = int(ink.sum()) - int(outside.sum())
    across = cv2.morphologyEx(outside, cv2.MORPH_OPEN, np.ones((1, _RULE), np.uint8))
    down = cv2.morphologyEx(outside, cv2.MORPH_OPEN, np.ones((_RULE, 1), np.uint8))
    unread = int(cv2.subtract(outside, cv2.max(across, down)).sum())
    return inside / max(1, inside + unread)


def annotated(page: pdfium.PdfPage, sketch: MatLike, ink: MatLike, scale: float) -> float:
    """Share (0..1) of the ink that annotations and form fields draw."""
    if not _has_drawn_annotations(page):
        return 0.0
    bare = sketch_of(page, scale, annotations=False)
    return int(_differs(sketch, bare).sum()) / max(1, int(ink.sum()))


def _has_drawn_annotations(page: pdfium.PdfPage) -> bool:
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
        pdfium_c.FPDFPage_CloseAnnot(annotation)
        if kind not in (pdfium_c.FPDF_ANNOT_LINK, pdfium_c.FPDF_ANNOT_POPUP):
            return True
    return False
