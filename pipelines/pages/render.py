"""Bytes of a document -> number of pages, and single pages. The renderer that a config can replace.

`count_pages` and `render_page` run only in the sandbox's child process, because they call native
code on untrusted bytes. A module with these two functions can replace this one (`fetch.renderer`).
Both get the same `data` object for every page of a document, so a renderer can keep the last
document open. This module imports the native decoders late, inside its functions.
"""

from __future__ import annotations

from pipelines.pages.page import Page, RenderOptions, sniff, unsupported


def count_pages(data: bytes, options: RenderOptions) -> int:
    """Number of pages of a PDF or frames of a TIFF; 1 for other kinds.

    Raises ItemFailure: UNSUPPORTED_KIND, CORRUPT_PDF, ENCRYPTED_PDF, EMPTY_DOCUMENT, CORRUPT_IMAGE.
    """
    kind = sniff(data)
    if kind == "pdf":
        from pipelines.pages.pdf.rendering import count_pdf_pages

        return count_pdf_pages(data, options)
    if kind == "tiff":
        from pipelines.pages.image import count_frames

        return count_frames(data)
    if kind == "unknown":
        raise unsupported(data)
    return 1


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    """Page `page` (1-based) of a document.

    Raises ItemFailure: those of `count_pages`, PAGE_MISSING, TOO_MANY_PIXELS.
    """
    kind = sniff(data)
    if kind == "pdf":
        from pipelines.pages.pdf.rendering import render_pdf_page

        return render_pdf_page(data, page, options)
    if kind == "unknown":
        raise unsupported(data)
    from pipelines.pages.image import render_image

    return render_image(data, kind, page, options)
