"""The text objects of a PDF page, and which of their characters are not seen."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from pipelines.pages.pdf.matrix import Matrix, matrix_of
from pipelines.pages.text_layer.lines import Box, Sight, address_of, runs_of
from pipelines.pages.text_layer.visibility import parts_of

_UNSEEN = (pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP)
_MAX_NESTING = 32  # form objects within form objects; pdfium itself stops there


@dataclass(frozen=True)
class Glyph:
    """A character of a text object.

    Attributes:
        blank: a space.
        hidden: drawn, but not seen.
        along: its origin, from the origin of the object along the line, in 1/1000 of the font size.
        box: in points of the page; None for a blank.
    """

    blank: bool
    hidden: bool
    along: float
    box: Box | None = None


@dataclass(frozen=True)
class Shown:
    """What one text operator (``Tj``, ``TJ``, ``'``, ``"``) draws.

    Attributes:
        glyphs: in the order in which they are drawn; pdfium leaves some blanks out.
        hidden: whether all of it is not seen.
        clip: it is no ink but a stencil: what is drawn later is seen through it.
        to_next: origin of the next text object, as `Glyph.along`; None for the last one.
    """

    glyphs: tuple[Glyph, ...]
    hidden: bool
    clip: bool = False
    to_next: float | None = None

    @property
    def partly(self) -> bool:
        """Whether some characters are seen and others not."""
        return not self.hidden and any(glyph.hidden for glyph in self.glyphs)

    def seen(self) -> Shown:
        """The same, as text that is seen."""
        glyphs = tuple(replace(glyph, hidden=False) for glyph in self.glyphs)
        return replace(self, glyphs=glyphs, hidden=False)


@dataclass
class _Placed:
    """A text object with its matrix on the page."""

    item: Any
    matrix: Matrix
    size: float

    def along(self, x: float, y: float) -> float:
        """A point of the page, as `Glyph.along`."""
        direction, origin = self.matrix[0, :2], self.matrix[2, :2]
        step = float(direction @ direction) * self.size
        return 1000 * float((np.array((x, y)) - origin) @ direction) / step if step else 0.0


def text_of(page: pdfium.PdfPage, gone: Collection[Sight]) -> list[Shown]:
    """The text objects of the page in the order of their operators, those in forms included.

    `gone`: text of which sight counts as hidden.
    """
    placed = list(_placed(page))
    if not placed:
        return []
    with closing(page.get_textpage()) as textpage:
        glyphs = _glyphs(page, textpage, {address_of(one.item): one for one in placed}, gone)
    origins = [(one.matrix[2, 0], one.matrix[2, 1]) for one in placed]
    found = []
    for one, following in zip(placed, [*origins[1:], None], strict=True):
        mode = pdfium_c.FPDFTextObj_GetTextRenderMode(one.item)
        own = tuple(sorted(glyphs[address_of(one.item)], key=lambda glyph: glyph.along))
        solid = [glyph.hidden for glyph in own if not glyph.blank]
        found.append(
            Shown(
                own,
                hidden=all(solid) if solid else mode in _UNSEEN and Sight.OCR in gone,
                clip=mode == pdfium_c.FPDF_TEXTRENDERMODE_CLIP,
                to_next=None if following is None else one.along(*following),
            )
        )
    return found


def _glyphs(
    page: pdfium.PdfPage,
    textpage: pdfium.PdfTextPage,
    owners: dict[int, _Placed],
    gone: Collection[Sight],
) -> dict[int, list[Glyph]]:
    """The characters of each text object, by its address."""
    flags = (
        (sight in gone, one)
        for sight, part in parts_of(page, list(runs_of(textpage)))
        for one in part.glyphs
    )
    found: defaultdict[int, list[Glyph]] = defaultdict(list)
    x, y = ctypes.c_double(), ctypes.c_double()
    for index in _indices(textpage):
        hidden, one = next(flags)
        if pdfium_c.FPDFText_IsGenerated(textpage, index) == 1:
            continue
        address = address_of(pdfium_c.FPDFText_GetTextObject(textpage, index))
        owner = owners.get(address)
        if owner is not None and pdfium_c.FPDFText_GetCharOrigin(textpage, index, x, y):
            along = owner.along(x.value, y.value)
            found[address].append(Glyph(one.box is None, hidden, along, one.box))
    return found


def _indices(textpage: pdfium.PdfTextPage) -> Iterator[int]:
    """The characters that `runs_of` gives: all but line breaks."""
    for index in range(textpage.count_chars()):
        if pdfium_c.FPDFText_GetUnicode(textpage, index) not in (10, 13):
            yield index


def _placed(page: pdfium.PdfPage) -> Iterator[_Placed]:
    for index in range(pdfium_c.FPDFPage_CountObjects(page)):
        yield from _placed_in(pdfium_c.FPDFPage_GetObject(page, index), np.eye(3), 0)


def _placed_in(item: Any, outer: Matrix, depth: int) -> Iterator[_Placed]:
    kind = pdfium_c.FPDFPageObj_GetType(item)
    if kind == pdfium_c.FPDF_PAGEOBJ_TEXT:
        size = ctypes.c_float()
        pdfium_c.FPDFTextObj_GetFontSize(item, size)
        yield _Placed(item, matrix_of(item) @ outer, size.value)
    elif kind == pdfium_c.FPDF_PAGEOBJ_FORM and depth < _MAX_NESTING:
        inner = matrix_of(item) @ outer
        for index in range(pdfium_c.FPDFFormObj_CountObjects(item)):
            yield from _placed_in(pdfium_c.FPDFFormObj_GetObject(item, index), inner, depth + 1)
