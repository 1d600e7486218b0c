"""The text layer of a PDF page: its lines, and measurements of its quality. Child process only."""

from __future__ import annotations

from contextlib import closing

import pypdfium2 as pdfium

from pipelines.pages.native_text import NO_TEXT, TextLayer, garbled_share
from pipelines.pages.page import TextLine
from pipelines.pages.text_layer.fonts.check import wrong_fonts
from pipelines.pages.text_layer.ink import annotated
from pipelines.pages.text_layer.lines import Box, Projection, Run, Sight, is_word, runs_of
from pipelines.pages.text_layer.unread import share_read, unread
from pipelines.pages.text_layer.visibility import parts_of


def read(
    page: pdfium.PdfPage, scale: float, *, trust_hidden: bool, check_fonts: bool = True
) -> tuple[list[TextLine], TextLayer]:
    """The lines in the order of the PDF, and the measurements for `native_text.decide`.

    Polygons are upright boxes, in pixels of the page rendered at `scale` pixels per point.
    """
    to_pixels = Projection.of(page, scale)
    with closing(page.get_textpage()) as textpage:
        every = list(parts_of(page, list(runs_of(textpage))))
        parts = [(sight, run) for sight, run in every if to_pixels.shows(run)]
        visible = [run for sight, run in parts if sight is Sight.SEEN]
        wrong = wrong_fonts(page, textpage, visible) if check_fonts else []
    if not parts:
        return [], NO_TEXT
    trusted = (Sight.SEEN, Sight.OCR) if trust_hidden else (Sight.SEEN,)
    used = [run for sight, run in parts if sight in trusted]
    missed = unread(page, used)
    layer = TextLayer(
        chars=_chars(used),
        hidden=1 - _chars(visible) / _chars([run for _, run in parts]),
        concealed=sum(
            sum(map(is_word, run.glyphs)) for sight, run in every if sight not in trusted
        ),
        garbled=garbled_share(
            "\n".join(run.text for run in used), sum(run.unmapped for run in used)
        ),
        coverage=share_read(used, missed),
        unread_lines=missed.lines,
        wrong_fonts=tuple(map(str, wrong)),
        annotated=annotated(page),
    )
    return [TextLine(text=run.text, polygon=_polygon(to_pixels(run.box))) for run in used], layer


def _chars(runs: list[Run]) -> int:
    return sum(run.chars for run in runs)


def _polygon(box: Box) -> list[float]:
    left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]
