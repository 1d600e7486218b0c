"""The glyphs that a PDF page draws for the characters of its text layer. Child process only."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from pipelines.pages.text_layer.fonts.outlines import Box, Floats, box_of, features, joined
from pipelines.pages.text_layer.fonts.templates import Evidence, templates
from pipelines.pages.text_layer.lines import Glyph, address_of

#: em by which the box of an outline may differ from the box of the character on the page. Beyond
#: it, the outline is not what is drawn: half of a ligature, one of two glyphs for a character.
_TOLERANCE = 0.04
#: Distinct glyphs whose looks are kept (1 kB each), for later pages and documents.
_MOST_KNOWN = 5_000
_NAME_BYTES = 256
#: Points of an outline; those of maps and engravings in a font have more and are not judged.
_MOST_POINTS = 2_000


@dataclass(eq=False)
class Font:
    """One font object of the page, and what it is said to draw."""

    handle: Any
    first: dict[int, Glyph] = field(default_factory=dict)  #: of each character
    counts: Counter[int] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """The name in the PDF, without the tag of a subset; "unnamed" for most Type 3 fonts."""
        name = ctypes.create_string_buffer(_NAME_BYTES)
        pdfium_c.FPDFFont_GetBaseFontName(self.handle, name, _NAME_BYTES)
        text = name.value.decode("utf-8", "replace")
        return (text[7:] if text[6:7] == "+" else text) or "unnamed"

    @property
    def is_painted(self) -> bool:
        """Whether it is a Type 3 font: drawing operators for every character, no font program.

        pdfium gives the outlines of another font for it.
        """
        size = ctypes.c_size_t()
        pdfium_c.FPDFFont_GetFontData(self.handle, None, 0, size)
        return pdfium_c.FPDFFont_GetIsEmbedded(self.handle) == 1 and size.value == 0


def fonts_of(glyphs: Iterable[Glyph]) -> list[Font]:
    """The fonts of the characters, in the order of the page. 0.5 us a character."""
    drawn = [glyph for glyph in glyphs if glyph.box is not None and glyph.owner]
    counts = Counter((glyph.owner, glyph.code) for glyph in drawn)
    first = {(glyph.owner, glyph.code): glyph for glyph in reversed(drawn)}
    of_item: dict[int, Font] = {}
    fonts: dict[int, Font] = {}
    for (owner, code), count in counts.items():
        font = of_item.get(owner)
        if font is None:
            item = ctypes.cast(owner, pdfium_c.FPDF_PAGEOBJECT)
            handle = pdfium_c.FPDFTextObj_GetFont(item)
            font = of_item[owner] = fonts.setdefault(address_of(handle), Font(handle))
        font.first.setdefault(code, first[owner, code])
        font.counts[code] += count
    return [font for address, font in fonts.items() if address]


@dataclass(frozen=True)
class Look:
    """What a glyph looks like, and what was found about claims for it."""

    box: Box
    point: Floats
    _evidence: dict[str, Evidence] = field(default_factory=dict)

    def evidence(self, char: str) -> Evidence:
        """What the glyph says about the claim that it is `char`."""
        found = self._evidence.get(char)
        if found is None:
            found = self._evidence[char] = templates().compare(char, self.point)
        return found


def look_of(font: Font, claim: Glyph, textpage: pdfium.PdfTextPage) -> Look | None:
    """The glyph that is drawn for the character; None if its outline is not known.

    pdfium gives outlines by character, not by code. Where several codes say the same character, it
    is one of them; the box on the page tells whether it is the one that was drawn.
    """
    glyph = pdfium_c.FPDFFont_GetGlyphPath(font.handle, claim.code, 1.0)
    look = _looks.get(glyph) if glyph else None
    return look if look and _fits(look.box, claim, textpage) else None


def _fits(box: Box, claim: Glyph, textpage: pdfium.PdfTextPage) -> bool:
    """Whether an outline in em, as the page scales and turns it, fills the character's box."""
    assert claim.box is not None
    matrix = pdfium_c.FS_MATRIX()
    pdfium_c.FPDFText_GetMatrix(textpage, claim.place, matrix)
    size = pdfium_c.FPDFText_GetFontSize(textpage, claim.place)
    left, bottom, right, top = box
    wide, high = size * (right - left), size * (top - bottom)
    across = abs(wide * matrix.a) + abs(high * matrix.c)
    upwards = abs(wide * matrix.b) + abs(high * matrix.d)
    x0, y0, x1, y1 = claim.box
    em = size * max(abs(matrix.a) + abs(matrix.c), abs(matrix.b) + abs(matrix.d))
    off = max(abs(across - (x1 - x0)), abs(upwards - (y1 - y0)))
    return bool(off < _TOLERANCE * em)


class _Looks:
    """Looks of glyphs by a few of their points: pages of a document share their glyphs.

    Two glyphs with as many points of which five agree are the same. Reading all points takes
    0.1 ms a glyph, and the rest 0.2 ms.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Look | None] = {}

    def get(self, glyph: Any) -> Look | None:
        """None for a glyph without ink."""
        count = pdfium_c.FPDFGlyphPath_CountGlyphSegments(glyph)
        key = (count, *_segments(glyph, range(0, count, max(1, count // 4))))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            outline = _outline(glyph, count) if count <= _MOST_POINTS else None
            self._known[key] = None if outline is None else _look(outline)
        return self._known[key]


_looks = _Looks()


def _look(outline: Floats) -> Look:
    return Look(box_of(outline), templates().projected(features(outline)))


def _segments(glyph: Any, places: Iterable[int]) -> Iterator[tuple[int, float, float]]:
    """(kind, x, y) of points of an outline."""
    segment_at = pdfium_c.FPDFGlyphPath_GetGlyphPathSegment
    point_of, kind_of = pdfium_c.FPDFPathSegment_GetPoint, pdfium_c.FPDFPathSegment_GetType
    x, y = ctypes.c_float(), ctypes.c_float()
    for place in places:
        segment = segment_at(glyph, place)
        point_of(segment, x, y)
        yield kind_of(segment), x.value, y.value


def _outline(glyph: Any, count: int) -> Floats | None:
    """The edges of a glyph; contours are closed, as filling does."""
    lines: list[tuple[float, ...]] = []
    curves: list[tuple[float, ...]] = []
    bezier: tuple[float, ...] = ()
    start = at = (0.0, 0.0)
    for kind, x, y in (*_segments(glyph, range(count)), (pdfium_c.FPDF_SEGMENT_MOVETO, 0.0, 0.0)):
        if kind == pdfium_c.FPDF_SEGMENT_BEZIERTO:
            bezier = (*bezier, x, y)
            if len(bezier) < 6:  # two control points and the end
                continue
            curves.append((*at, *bezier))
            bezier = ()
        elif kind == pdfium_c.FPDF_SEGMENT_MOVETO:
            lines.append((*at, *start))
            start = (x, y)
        else:
            lines.append((*at, x, y))
        at = (x, y)
    straight = [line for line in lines if line[:2] != line[2:]]
    return joined(np.array(straight).reshape(-1, 4), np.array(curves).reshape(-1, 8))
