"""Take old text out of a document, and leave every page as it looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Literal

import pypdfium2 as pdfium

from actors.failures import ItemFailure
from pipelines.export.pdf.old_text.finding import Shown, text_of
from pipelines.pages.text_layer.lines import Projection, Sight

#: What goes: `covered`, text that is not seen, but for an earlier OCR's; `hidden`, all text that is
#: not seen; `all`, also what can be copied of the rest.
Wanted = Literal["covered", "hidden", "all"]
#: Opens a PDF with the passwords of the run.
Open = Callable[[bytes], pdfium.PdfDocument]

#: Pixels per point at which a page must look as before.
_SCALE = 100 / 72


def without_old_text(
    document: bytes, wanted: Mapping[int, Wanted], opened: Open, passwords: Sequence[str] = ()
) -> tuple[bytes, dict[int, str]]:
    """(document, page -> "removed" or "kept: REASON") for each page that has such text.

    Args:
        document: a PDF.
        wanted: page number, from 1 -> what goes.
        opened: opens a PDF.
        passwords: tried if the document has one.

    A page that would look different, or whose text is not gone afterwards, stays as it was. A
    document without such text is returned unchanged.
    """
    going = old_text(document, wanted, opened)
    done = dict.fromkeys(going, "removed")
    if going:  # else spares 0.1 s: most documents have no such text
        from pipelines.export.pdf.old_text.editing import edited
    while going:
        blank = [number for number in going if wanted[number] == "all"]
        result, failed = edited(document, going, blank, passwords)
        failed = failed or _unlike(document, result, going, wanted, opened)
        if not failed:
            return result, done
        for number, why in failed.items():
            shown = going.pop(number)
            if any(one.clip and one.hidden for one in shown):  # a picture may be seen through it
                going[number] = [one.seen() if one.clip else one for one in shown]
            else:
                done[number] = f"kept: {why}"
    return document, done


def old_text(document: bytes, wanted: Mapping[int, Wanted], opened: Open) -> dict[int, list[Shown]]:
    """The text of each wanted page that has text to take out."""
    found = {}
    with closing(opened(document)) as pdf:
        for number, what in wanted.items():
            if number <= len(pdf):
                shown = _text_of(pdf, number, what)
                if _has_old(shown, blank=what == "all"):
                    found[number] = shown
    return found


def _text_of(pdf: pdfium.PdfDocument, number: int, what: Wanted) -> list[Shown]:
    gone = (Sight.HIDDEN,) if what == "covered" else (Sight.HIDDEN, Sight.OCR)
    try:
        with closing(pdf[number - 1]) as page:
            return text_of(page, gone)
    except pdfium.PdfiumError:  # the writer of the new text names the fault
        return []


def _has_old(shown: Sequence[Shown], *, blank: bool) -> bool:
    """Whether text is there that must go. `blank`: any text, seen or not."""
    if any(one.hidden or one.partly for one in shown):
        return True
    return blank and any(not glyph.blank for one in shown for glyph in one.glyphs)


def _left(pdf: pdfium.PdfDocument, number: int, what: Wanted) -> bool:
    return _has_old(_text_of(pdf, number, what), blank=what == "all")


def _unlike(
    document: bytes,
    result: bytes,
    going: Mapping[int, Sequence[Shown]],
    wanted: Mapping[int, Wanted],
    opened: Open,
) -> dict[int, str]:
    """Pages that look different now, or still have the text -> reason."""
    try:
        after = opened(result)
    except ItemFailure as error:  # qpdf wrote what pdfium cannot read
        return dict.fromkeys(going, f"the PDF cannot be edited: {error.message}")
    failed = {}
    with closing(opened(document)) as before, closing(after):
        if len(before) != len(after):
            return dict.fromkeys(going, "the PDF is damaged")
        for number, shown in going.items():
            clips = any(one.clip and not one.hidden for one in shown)
            if not _same_look(before, after, number, shown):
                failed[number] = "the page would look different"
            elif not clips and _left(after, number, wanted[number]):
                failed[number] = "some of its text would stay"
    return failed


def _same_look(
    before: pdfium.PdfDocument, after: pdfium.PdfDocument, number: int, shown: Sequence[Shown]
) -> bool:
    """Whether the page looks as before, but for the edges of letters beneath a box."""
    pictures = []
    for pdf in (before, after):
        with closing(pdf[number - 1]) as page:
            pictures.append(page.render(scale=_SCALE).to_numpy())
            to_pixels = Projection.of(page, _SCALE)
    if pictures[0].shape != pictures[1].shape:
        return False
    differs = (pictures[0] != pictures[1]).any(axis=2)
    if differs.any():
        glyphs = [glyph for one in shown for glyph in one.glyphs if glyph.hidden]
        for box in [glyph.box for glyph in glyphs if glyph.box]:
            left, top, right, bottom = map(round, to_pixels(box))
            differs[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = False
    return not differs.any()
