"""The fonts of a page that draw other letters than its text layer says. Child process only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pypdfium2 as pdfium

from pipelines.pages.text_layer.fonts.drawn import Font, Look, fonts_of, look_of
from pipelines.pages.text_layer.fonts.painted import Painted
from pipelines.pages.text_layer.fonts.templates import templates
from pipelines.pages.text_layer.fonts.verdict import wrong_characters
from pipelines.pages.text_layer.lines import Glyph, Run

#: Characters of a font that are judged, the most frequent ones: more say nothing new.
_MOST_JUDGED = 40
#: Wrong characters that a page may have: up to five, if they are under 1 % of it.
_TRACE, _TRACE_SHARE = 5, 0.01


@dataclass(frozen=True)
class WrongFont:
    """A font whose map to characters is wrong."""

    name: str
    judged: int  #: distinct characters that have evidence
    wrong: str  #: those that draw another one
    chars: int  #: how often the wrong ones are on the page

    def __str__(self) -> str:
        return (
            f"font {self.name} draws other letters than its text says"
            f" ({len(self.wrong)} of {self.judged}: {self.wrong[:8]})"
        )


def wrong_fonts(
    page: pdfium.PdfPage, textpage: pdfium.PdfTextPage, runs: Iterable[Run]
) -> list[WrongFont]:
    """Fonts of the lines that draw other characters than these say; those with most text first.

    `runs`: what is seen; hidden text draws nothing that could be compared. Traces are left out: up
    to five wrong characters that are less than 1 % of all.
    """
    fonts = fonts_of(glyph for run in runs for glyph in run.glyphs)
    painted = [font for font in fonts if font.is_painted]
    looks = {id(font): _looks(font, textpage) for font in fonts if font not in painted}
    if any(_judgeable(font) for font in painted):
        canvas = Painted(page, textpage)
        looks |= {id(font): canvas.looks(_judgeable(font)) for font in painted}
    found = [judged for font in fonts if (judged := _judged(font, looks.get(id(font), {})))]
    total = sum(font.counts.total() for font in fonts)
    wrong = sum(one.chars for one in found)
    if wrong <= _TRACE and wrong < _TRACE_SHARE * total:
        return []
    return sorted(found, key=lambda one: -one.chars)


def _judgeable(font: Font) -> list[Glyph]:
    """The first of each frequent character that has templates; none if they are too few."""
    ordered = sorted(font.counts, key=lambda code: (-font.counts[code], code))
    judged = [font.first[code] for code in ordered if chr(code) in templates()][:_MOST_JUDGED]
    return judged if len(judged) > 1 else []


def _looks(font: Font, textpage: pdfium.PdfTextPage) -> dict[str, Look]:
    looks = {chr(claim.code): look_of(font, claim, textpage) for claim in _judgeable(font)}
    return {char: look for char, look in looks.items() if look is not None}


def _judged(font: Font, looks: dict[str, Look]) -> WrongFont | None:
    evidence = [look.evidence(char) for char, look in looks.items()]
    wrong = wrong_characters(
        evidence, lambda one, other: templates().distance(looks[one].point, other)
    )
    if not wrong:
        return None
    listed = "".join(char for char in looks if char in wrong)
    return WrongFont(font.name, len(looks), listed, sum(font.counts[ord(c)] for c in wrong))
