"""Make a searchable PDF of a document and its lines. Runs in the sandbox's child process only.

This is a renderer of `pipelines.pages.sandbox`. Its document is a job (`packed`). The image of its
only page is the PDF together with a report.

First the text that the run refused goes (`old_text`). Then pdfium writes ours: the streams of a
PDF's pages are copied, and the text becomes a separate stream after them (pdfium restores the
graphics state before it). Passwords are kept.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from actors.failures import FailureKind, ItemFailure
from pipelines.export.pdf.job import packed, unpacked
from pipelines.export.pdf.of_images import pdf_of_images
from pipelines.export.pdf.old_text.removing import old_text, without_old_text
from pipelines.export.pdf.there import PageText
from pipelines.export.pdf.writing import Font, Projection, write_line
from pipelines.export.text_layout import quad_of
from pipelines.pages.page import Page, RenderOptions, sniff, unsupported
from pipelines.pages.pdf.rendering import count_pdf_pages

#: What `MadePdf.old_text` says of a page whose old layer stays on request.
ASKED_FOR = "kept: --keep-old-text"


def count_pages(data: bytes, options: RenderOptions) -> int:
    """Always 1: a job has one answer."""
    return 1


def render_page(data: bytes, page: int, options: RenderOptions) -> Page:
    """The answer to a job.

    `data` is `packed`: the document, and ``{"pages": [{"page", "width", "height", "lines",
    "old_text"}], "keep_old_text"}``, with lines ``[text, polygon]`` in pixels of the upright page,
    and `old_text` a value of `old_text.removing.Wanted` or null. The answer's `image` is `packed`:
    the PDF, and a report: ``{"pages", "lines", "there", "bare": {page: reason}, "old_text": {page:
    "removed" or "kept: REASON"}, "signed"}``: pages of the PDF, lines added, lines left out because
    the page already has the same text at their position, pages without text or picture, pages that
    had text to take out, and whether a signature was broken.

    Raises ItemFailure: the kinds of `pipelines.pages.render.count_pages`, TOO_MANY_PIXELS.
    """
    job, document = unpacked(data)
    kind = sniff(document)
    if kind == "unknown":
        raise unsupported(document)
    bare: dict[int, str] = {}
    if kind == "pdf":
        count_pdf_pages(document, options)  # raises the same failures as in the run
    else:
        document, bare = pdf_of_images(document, kind, job["pages"], options)
    keep = bool(job.get("keep_old_text"))
    answer, file = with_text(document, job["pages"], options.passwords, keep_old_text=keep)
    answer["bare"] = {**answer["bare"], **bare}
    return Page(image=packed(answer, file), width=1, height=1)


def with_text(
    document: bytes,
    pages: Sequence[Mapping[str, Any]],
    passwords: Sequence[str] = (),
    *,
    keep_old_text: bool = False,
) -> tuple[dict[str, Any], bytes]:
    """(report, PDF with invisible text, without the old one). Arguments as in `render_page`.

    Without changes the document is returned unchanged, byte for byte.
    """
    answer: dict[str, Any] = {"lines": 0, "there": 0, "bare": {}}
    opened = partial(_opened, passwords=passwords)
    wanted = {page["page"]: page["old_text"] for page in pages if page.get("old_text")}
    if keep_old_text:
        old = dict.fromkeys(old_text(document, wanted, opened), ASKED_FOR)
        clean = document
    else:
        clean, old = without_old_text(document, wanted, opened, passwords)
    seen = {number for number in wanted if old.get(number, "removed") == "removed"}
    written = [page for page in pages if page["lines"]]
    with closing(opened(clean)) as pdf:
        answer |= {"pages": len(pdf), "old_text": old}
        signed = pdfium_c.FPDF_GetSignatureCount(pdf) > 0
        if written:
            font = Font(pdf, [text for page in written for text, _ in page["lines"]])
            for page in written:
                _add_page(pdf, page, font, answer, seen=page["page"] in seen)
            font.close()
        answer["signed"] = signed and (bool(answer["lines"]) or clean is not document)
        if not answer["lines"]:
            return answer, clean
        file = io.BytesIO()
        pdf.save(file)
    return answer, file.getvalue()


def _add_page(
    pdf: pdfium.PdfDocument,
    page: Mapping[str, Any],
    font: Font,
    answer: dict[str, Any],
    *,
    seen: bool,
) -> None:
    """Write the lines of one page and count them in `answer`. `seen`: see `PageText`."""
    if page["page"] > len(pdf):
        answer["bare"][page["page"]] = "the document has no such page"
        return
    try:
        with closing(pdf[page["page"] - 1]) as loaded:
            placed, there = _write_page(loaded, page, font, seen=seen)
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


def _write_page(
    page: pdfium.PdfPage, wanted: Mapping[str, Any], font: Font, *, seen: bool
) -> tuple[int, int]:
    """Write lines on a page: (lines written, lines that the page already has)."""
    to_points = Projection(page, wanted["width"], wanted["height"])
    before = PageText(page, seen=seen)
    placed = 0
    for text, polygon in wanted["lines"]:
        parts = before.missing(text, to_points(quad_of(polygon, text)))
        for part, quad, in_field in parts:
            write_line(page, part, quad, font, in_field=in_field)
        placed += bool(parts)
    if placed and not pdfium_c.FPDFPage_GenerateContent(page):
        raise pdfium.PdfiumError("pdfium cannot write the content of the page")
    return placed, len(wanted["lines"]) - placed
