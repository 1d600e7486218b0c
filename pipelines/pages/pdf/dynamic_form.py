"""Tells PDF pages that are only the placeholder of a dynamic XFA form. Child process only.

An XFA form is described in XML inside the PDF. A static one has its pages and fields in the PDF as
well. A dynamic one has a single page ("Please wait..."), which Adobe's readers replace by the form.
No other program can show it, so whatever is read of the page is not the document's text.
"""

from __future__ import annotations

import ctypes
import re
from functools import lru_cache

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

#: The reason against the text layer of a placeholder.
PLACEHOLDER = "placeholder of a dynamic form"

_XFA = (pdfium_c.FORMTYPE_XFA_FULL, pdfium_c.FORMTYPE_XFA_FOREGROUND)
_REQUIRED = re.compile(rb"<(?:\w+:)?dynamicRender\s*>\s*required\s*<")
_FIELD = re.compile(rb"<(?:\w+:)?(?:field|exclGroup)\b")
_MOST_BYTES = 16 << 20  # of one part of the XML
#: Letters and digits of a placeholder: Adobe's have 300 to 500, in any language.
_SHORT = 1_000
#: In any language, the placeholder names the pages on which Adobe explains it.
_ADOBE = re.compile(r"adobe\.com\S*(?:reader|acrobat)", re.IGNORECASE)
_HELP = re.compile(r"acrreader|reader_download|readstep", re.IGNORECASE)


def is_placeholder(document: pdfium.PdfDocument, page: pdfium.PdfPage, text: str) -> bool:
    """Whether `page` stands for a form that is not in it. `text`: its text layer, or "".

    One of these says so:
    - `/NeedsRendering` in the catalog, beside `/XFA`
    - the XML requires `dynamicRender`, and the page has no form fields
    - the XML has form fields, the page has none, and little text
    - the text is Adobe's "Please wait...", in any language, also if a tool took the XML out
    """
    words = sum(map(str.isalnum, text))
    if words < _SHORT and _ADOBE.search(text) and _HELP.search(text):
        return True
    form = pdfium_c.FPDF_GetFormType(document)
    if form not in _XFA:
        return False
    if form == pdfium_c.FORMTYPE_XFA_FULL:
        return True
    required, fields = _described(document)
    return (required or (fields and words < _SHORT)) and not _has_fields(page)


@lru_cache(maxsize=1)  # consecutive pages of one document read its XML once
def _described(document: pdfium.PdfDocument) -> tuple[bool, bool]:
    """Whether the XML requires dynamic rendering, and whether it has form fields."""
    required = fields = False
    for index in range(pdfium_c.FPDF_GetXFAPacketCount(document)):
        size = ctypes.c_ulong()
        pdfium_c.FPDF_GetXFAPacketContent(document, index, None, 0, size)
        if size.value <= _MOST_BYTES:
            content = ctypes.create_string_buffer(size.value)
            pdfium_c.FPDF_GetXFAPacketContent(document, index, content, size.value, size)
            required |= bool(_REQUIRED.search(content.raw))
            fields |= bool(_FIELD.search(content.raw))
    return required, fields


def _has_fields(page: pdfium.PdfPage) -> bool:
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        kind = pdfium_c.FPDFAnnot_GetSubtype(annotation)
        pdfium_c.FPDFPage_CloseAnnot(annotation)
        if kind == pdfium_c.FPDF_ANNOT_WIDGET:
            return True
    return False
