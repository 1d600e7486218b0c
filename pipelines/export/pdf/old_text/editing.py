"""A PDF without some of its text, with pikepdf."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence

import pikepdf

from pipelines.export.pdf.old_text.finding import Shown
from pipelines.export.pdf.old_text.fonts import BlankFonts
from pipelines.export.pdf.old_text.operators import NotPossible
from pipelines.export.pdf.old_text.streams import PageWithout

#: What pikepdf raises on content that makes no sense.
_FAULTS = (
    *(pikepdf.PdfError, pikepdf.DataDecodingError, NotPossible),
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError),
)


def edited(
    document: bytes,
    going: Mapping[int, Sequence[Shown]],
    blank: Collection[int],
    passwords: Sequence[str],
) -> tuple[bytes, dict[int, str]]:
    """(the document without the text, pages for which that is not possible -> reason).

    If any page is not possible, the document must not be used.

    Args:
        document: a PDF.
        going: page number, from 1 -> its text.
        blank: pages whose text that stays is copied as blanks.
        passwords: tried if the document has one; it keeps it.
    """
    failed: dict[int, str] = {}
    try:
        with _opened(document, passwords) as pdf:
            for number, shown in going.items():
                try:
                    fonts = BlankFonts(pdf) if number in blank else None
                    PageWithout(pdf, shown, fonts).rewrite(pdf.pages[number - 1])
                    if fonts is not None:
                        fonts.write()
                except _FAULTS as error:
                    failed[number] = str(error)
            file = io.BytesIO()
            pdf.save(file, encryption=pdf.is_encrypted or None)
    except _FAULTS as error:  # qpdf refuses what pdfium mends
        return document, dict.fromkeys(going, f"the PDF cannot be edited: {error}")
    return file.getvalue(), failed


def _opened(document: bytes, passwords: Sequence[str]) -> pikepdf.Pdf:
    for password in ("", *passwords):
        try:
            return pikepdf.open(io.BytesIO(document), password=password)
        except pikepdf.PasswordError:
            continue
    raise ValueError("none of the passwords fits")
