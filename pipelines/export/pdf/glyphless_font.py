"""A font with invisible glyphs, for text that is searched and copied but not seen.

Tesseract and OCRmyPDF ship such a font as a file; this one is made with fontTools. Each character
of a document gets its own code, and a ToUnicode map converts codes to characters, so any script
works. A glyph is an outline of two points from descender to ascender. It has no area, so nothing is
painted even by a viewer that ignores the invisible render mode, but it has a box. Empty glyphs have
no box: pdfium (Chrome) gives their characters height 0, and they cannot be selected with the mouse.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from pipelines.export.text_layout import ADVANCES, advance

#: Height above and depth below the baseline, for a font size of 1.
ASCENT, DESCENT = 0.8, 0.2
_UNITS = 1000
_MOST_CODES = 0xFFFF
_MOST_IN_A_BLOCK = 100  # limit of the PDF reference for a beginbfchar block

_CMAP_HEAD = b"""/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000> <ffff>
endcodespacerange
"""
_CMAP_TAIL = b"""endcmap
CMapName currentdict /CMap defineresource pop
end
end
"""


@cache
def font_file() -> bytes:
    """A TrueType file of 0.9 KB: one glyph for each of ADVANCES, in their order, after .notdef."""
    names = [".notdef", *(f"advance{width}" for width in ADVANCES)]
    widths = [0, *ADVANCES]
    builder = FontBuilder(_UNITS, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({})
    builder.setupGlyf({name: _glyph(width) for name, width in zip(names, widths, strict=True)})
    builder.setupHorizontalMetrics({n: (w, 0) for n, w in zip(names, widths, strict=True)})
    ascent, descent = round(ASCENT * _UNITS), round(DESCENT * _UNITS)
    builder.setupHorizontalHeader(ascent=ascent, descent=-descent)
    builder.setupOS2(
        sTypoAscender=ascent, sTypoDescender=-descent, usWinAscent=ascent, usWinDescent=descent
    )
    family = {"familyName": "Nightjar Glyphless", "styleName": "Regular"}
    builder.setupNameTable(family | {"psName": "NightjarGlyphless"})
    builder.setupPost()
    for stamp in ("created", "modified"):  # so that the same text gives the same file
        setattr(builder.font["head"], stamp, 0)
    builder.font.recalcTimestamp = False
    file = io.BytesIO()
    builder.save(file)
    return file.getvalue()


def _glyph(width: int) -> object:
    pen = TTGlyphPen(None)
    if width:
        pen.moveTo((0, round(-DESCENT * _UNITS)))
        pen.lineTo((width, round(ASCENT * _UNITS)))
        pen.closePath()
    return pen.glyph()


def codes_of(texts: Sequence[str]) -> dict[str, int]:
    """A code (from 1) for each character; at most 65,535 characters get one."""
    chars = sorted({char for text in texts for char in text})
    return {char: code for code, char in enumerate(chars[:_MOST_CODES], start=1)}


def to_unicode(codes: dict[str, int]) -> bytes:
    """The ToUnicode CMap of these codes."""
    lines = [
        b"<%04x> <%s>\n" % (code, char.encode("utf-16-be").hex().encode())
        for char, code in codes.items()
    ]
    blocks = [lines[at : at + _MOST_IN_A_BLOCK] for at in range(0, len(lines), _MOST_IN_A_BLOCK)]
    body = b"".join(
        b"%d beginbfchar\n%sendbfchar\n" % (len(block), b"".join(block)) for block in blocks
    )
    return _CMAP_HEAD + body + _CMAP_TAIL


def glyphs_of(codes: dict[str, int]) -> bytes:
    """The CIDToGIDMap: two bytes for each code, from 0."""
    glyph = {width: number for number, width in enumerate(ADVANCES, start=1)}
    ids = [0, *(glyph[advance(char)] for char in codes)]
    return b"".join(number.to_bytes(2, "big") for number in ids)
