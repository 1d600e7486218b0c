"""Bytes of a document -> number of pages, one page. The public seam of the sandbox.

`count_pages` and `render_page` run inside the sandbox's child process only: what they call is
native code fed with hostile bytes. Any module with these two functions can take their place
(`renderer` in the config). Both get the same `data` object for every page of a document, so that a
renderer may keep the last document open. This module itself imports no native decoder.
"""

from __future__ import annotations

from pipelines.pages.page import Page, RenderOptions, sniff, unsupported


def count_pages(data: bytes, options: RenderOptions) -> int:
    """Pages of a PDF, frames of a TIFF, else 1.

    Raises ItemFailure: UNSUPPORTED_KIND, CORRUPT_PDF, ENCRYPTED_PDF, EMPTY_DOCUMENT, CORRUPT_IMAGE.
    """
    kind = sniff(data)
    if kind == "pdf":
        from pipelines.pages.pdf import count_pdf_pages

        return count_pdf_pages(data, options)
    if kind == "tiff":
        from pipelines.pages.image import count_frames

        return count_frames(data)
    if kind == "unknown":
        raise unsupported()
    return 1


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    """Page `page` (1-based) of a document.

    Raises ItemFailure: those of `count_pages`, PAGE_MISSING, TOO_MANY_PIXELS.
    """
    kind = sniff(data)
    if kind == "pdf":
        from pipelines.pages.pdf import render_pdf_page

        return render_pdf_page(data, page, options)
    if kind == "unknown":
        raise unsupported()
    from pipelines.pages.image import render_image

    return render_image(data, kind, page, options)
