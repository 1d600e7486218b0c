"""Fonts whose text is copied as blanks.

Text that is seen but says something else cannot be taken out. A ToUnicode map that gives a blank
for each of its codes leaves nothing to copy or to find (tried with pdfium, poppler and MuPDF; other
characters of no width, and no map at all, come out in at least one of them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pikepdf
from pikepdf import Name

_HEAD = (
    "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n"
    "/CMapName /NightjarBlank def\n/CMapType 2 def\n1 begincodespacerange\n"
)
_TAIL = "endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
_MOST = 100  # entries of one block of a CMap


class BlankFonts:
    """Copies of the fonts of one page, with a map of blanks."""

    def __init__(self, pdf: pikepdf.Pdf) -> None:
        self._pdf = pdf
        self._copies: dict[tuple[int, int] | int, tuple[Any, Any, set[bytes]]] = {}

    def copy_of(self, font: Any) -> Any:
        """The copy of a font of the page."""
        key = _key(font)
        if key not in self._copies:
            copy = self._pdf.make_indirect(pikepdf.Dictionary(dict(font.items())))
            self._copies[key] = (font, copy, set())
        return self._copies[key][1]

    def shows(self, font: Any, strings: Iterable[bytes]) -> None:
        """Note the codes of text that the page shows in a font."""
        if isinstance(font, pikepdf.Dictionary):
            self.copy_of(font)
            self._copies[_key(font)][2].update(strings)

    def write(self) -> None:
        """Write the maps of the codes that were noted."""
        for font, copy, strings in self._copies.values():
            width = 2 if font.get("/Subtype") == Name.Type0 else 1
            codes = sorted({code for data in strings for code in _codes(data, width)})
            copy.ToUnicode = self._pdf.make_stream(_map(codes, width))


def _key(font: Any) -> tuple[int, int] | int:
    """The same for the same font; a font inside the resources has no number of its own."""
    number: tuple[int, int] = font.objgen
    return number if number[0] else hash(font.unparse())


def _codes(data: bytes, width: int) -> Iterator[bytes]:
    return (data[at : at + width] for at in range(0, len(data), width))


def _map(codes: list[bytes], width: int) -> bytes:
    """A ToUnicode map from each code to a blank."""
    text = _HEAD + f"<{'00' * width}> <{'FF' * width}>\nendcodespacerange\n"
    for start in range(0, len(codes), _MOST):
        block = codes[start : start + _MOST]
        text += f"{len(block)} beginbfchar\n"
        text += "".join(f"<{code.hex()}> <0020>\n" for code in block) + "endbfchar\n"
    return (text + _TAIL).encode()
