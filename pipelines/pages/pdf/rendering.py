"""One page of a PDF, with pypdfium2. Runs only in the sandbox's child."""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.attached import may_have_attachments
from pipelines.pages.image import encode
from pipelines.pages.native_text import EARLIER_OCR, NO_TEXT, decide
from pipelines.pages.notes import PageNote
from pipelines.pages.page import Page, RenderOptions, TextLine, page_missing
from pipelines.pages.pdf.dynamic_form import PLACEHOLDER, is_placeholder
from pipelines.pages.pdf.page_size import PageSize, page_size
from pipelines.pages.pdf.user_unit import user_unit
from pipelines.pages.text_layer.read import read as read_layer

_LOCKED = (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY)


def count_pdf_pages(data: bytes, options: RenderOptions) -> int:
    """Number of pages. Raises ItemFailure(CORRUPT_PDF, ENCRYPTED_PDF, EMPTY_DOCUMENT)."""
    return len(_opened(data, options.passwords))


def render_pdf_page(data: bytes, page: int, options: RenderOptions) -> Page:
    """Page `page` (1-based): its text layer if accepted, else its image, or both.

    The image shows rotation, annotations and form fields. Cost with one thread, A4: 50 ms for a
    text layer (25 to read it, 15 to find hidden text, 10 to compare its fonts; twice that for the
    first pages with new fonts); at 200 dpi 10 ms to draw and 20 to 30 ms to compress.
    Raises ItemFailure: those of `count_pdf_pages`, PAGE_MISSING, TOO_MANY_PIXELS.
    """
    document = _opened(data, options.passwords)
    if page > len(document):
        raise page_missing(page, len(document))
    try:
        with closing(document[page - 1]) as loaded:
            size = page_size(loaded, user_unit(data, page, options.passwords), options)
            shown = _rendered(document, loaded, size, options)
    except pdfium.PdfiumError as error:
        raise ItemFailure(FailureKind.CORRUPT_PDF, f"page {page}: {error}") from error
    of_file = _notes_of_file(data, options) if page == 1 else ()
    return shown.model_copy(update={"notes": (*shown.notes, *of_file)})


def _notes_of_file(data: bytes, options: RenderOptions) -> tuple[PageNote, ...]:
    if not may_have_attachments(data):
        return ()
    from pipelines.pages.pdf.attachments import attached_to  # a second parser, 0.2 s to import

    try:
        attached = attached_to(data, options.passwords)
    except ItemFailure:  # too many files
        return (PageNote.ATTACHMENTS,)
    if attached.portfolio:
        return PageNote.ATTACHMENTS, PageNote.PORTFOLIO
    return (PageNote.ATTACHMENTS,) if attached.names else ()


def _rendered(
    document: pdfium.PdfDocument, page: pdfium.PdfPage, size: PageSize, options: RenderOptions
) -> Page:
    wanted = options.native_text
    lines: list[TextLine] = []
    layer = NO_TEXT
    if wanted.enabled:
        lines, layer = read_layer(
            page, size.scale, trust_hidden=wanted.trust_hidden, check_fonts=wanted.check_fonts
        )
    accepted, reason = decide(layer, wanted)
    notes = (PageNote.HIDDEN_TEXT,) if layer.concealed and reason != EARLIER_OCR else ()
    if layer.wrong_fonts:
        notes = (PageNote.TEXT_LAYER_DISAGREES, *notes)
    if is_placeholder(document, page, "\n".join(line.text for line in lines)):
        accepted, reason, notes = False, PLACEHOLDER, (PageNote.DYNAMIC_FORM,)
    image = None
    if not accepted or options.keep_image_for_native:
        image = encode(page.render(scale=size.scale).to_numpy())
    return Page(
        image=image,
        width=size.width,
        height=size.height,
        native_text="\n".join(line.text for line in lines) if accepted else None,
        native_lines=lines if accepted else None,
        native_reason=reason,
        notes=notes,
    )


@lru_cache(maxsize=1)  # consecutive pages of one document parse it once
def _opened(data: bytes, passwords: tuple[str, ...]) -> pdfium.PdfDocument:
    if not _is_complete(data):
        raise ItemFailure(FailureKind.CORRUPT_PDF, "truncated: no end marker after the objects")
    for password in (None, *passwords):
        try:
            document = pdfium.PdfDocument(data, password=password)
        except pdfium.PdfiumError as error:
            if _is_empty(data, password):
                raise ItemFailure(FailureKind.EMPTY_DOCUMENT, "the PDF has no pages") from error
            if error.err_code in _LOCKED:
                continue
            raise ItemFailure(FailureKind.CORRUPT_PDF, str(error)) from error
        document.init_forms()  # must precede the first page, or form fields are not drawn
        return document
    why = f"none of the {len(passwords)} passwords fits" if passwords else "no password given"
    raise ItemFailure(FailureKind.ENCRYPTED_PDF, why)


def _is_empty(data: bytes, password: str | None) -> bool:
    """Whether pdfium opens it with 0 pages; pypdfium2 reports a stale error code then."""
    handle = pdfium_c.FPDF_LoadMemDocument64(data, len(data), password and password.encode())
    if handle:
        pdfium_c.FPDF_CloseDocument(handle)
    return bool(handle)


def _is_complete(data: bytes) -> bool:
    """Whether an end marker follows the last object. pdfium "repairs" a truncated file silently."""
    end = max(data.rfind(b"%%EOF"), data.rfind(b"startxref"))
    return end > data.rfind(b"endobj")
