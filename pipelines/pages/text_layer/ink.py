"""Pictures of a PDF page, and the ink of annotations in them. Child process only."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from cv2.typing import MatLike

#: Pixels of the picture in which the ink of annotations is measured: A3 at 72 dpi, 2 ms.
_PIXELS = 1e6
#: Gray levels (0..255) between ink and paper: above the JPEG noise of scans.
_INK_CONTRAST = 32


def sketch_of(page: pdfium.PdfPage, scale: float, *, annotations: bool) -> MatLike:
    """Gray image of the page, uint8 (H, W), with `scale` pixels per point."""
    bitmap = page.render(
        scale=scale, grayscale=True, draw_annots=annotations, may_draw_forms=annotations
    )
    pixels: MatLike = bitmap.to_numpy()
    return pixels.reshape(pixels.shape[:2])


def annotated(page: pdfium.PdfPage) -> float:
    """Share (0..1) of the ink that annotations and form fields draw."""
    if not _has_drawn_annotations(page):
        return 0.0
    width, height = page.get_size()
    scale = min(1.0, math.sqrt(_PIXELS / max(1.0, width * height)))
    whole = sketch_of(page, scale, annotations=True)
    paper = int(cv2.calcHist([whole], [0], None, [256], [0, 256]).argmax())
    bare = sketch_of(page, scale, annotations=False)
    return _difference(whole, bare) / max(1, _difference(whole, np.full_like(whole, paper)))


def _difference(one: MatLike, other: MatLike) -> int:
    """The number of pixels that differ."""
    return int((cv2.absdiff(one, other) > _INK_CONTRAST).sum())


def _has_drawn_annotations(page: pdfium.PdfPage) -> bool:
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
        pdfium_c.FPDFPage_CloseAnnot(annotation)
        if kind not in (pdfium_c.FPDF_ANNOT_LINK, pdfium_c.FPDF_ANNOT_POPUP):
            return True
    return False
