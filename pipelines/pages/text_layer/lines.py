"""The lines of a PDF page's text layer, and where they are. Child process only."""

from __future__ import annotations

import ctypes
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Any, NamedTuple

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

Box = tuple[float, float, float, float]  #: left, bottom, right, top in points of the page


class Sight(Enum):
    """Whether a viewer shows a character."""

    SEEN = "seen"
    OCR = "ocr"  # invisible, or beneath an image: an earlier OCR of what the page shows
    HIDDEN = "hidden"  # by a box, a layer that is off, a clip path, no contrast, ...


_LEAST_SEEN = 1 / 3  # of a word's characters
_HYPHEN = 2  # pdfium's code for a hyphen at the end of a line


class Glyph(NamedTuple):
    """One character of the text layer.

    `box`: None for white space and for what pdfium adds, such as blanks between columns. `owner`:
    address of its text object. `unmapped`: the font names no character, and pdfium guesses one.
    `place`: its index in pdfium's text page.
    """

    code: int
    box: Box | None = None
    owner: int = 0
    unmapped: bool = False
    place: int = -1


@dataclass
class Run:
    """The characters of one line, in the order of the PDF, and their boxes in points."""

    glyphs: list[Glyph] = field(default_factory=list)

    @property
    def text(self) -> str:
        joined = "".join(chr(one.code) for one in self.glyphs).encode("utf-16-le", "surrogatepass")
        return joined.decode("utf-16-le", "replace").strip()

    @property
    def boxes(self) -> list[Box]:
        return [one.box for one in self.glyphs if one.box]

    @property
    def box(self) -> Box:
        left, bottom, right, top = zip(*self.boxes, strict=True)
        return min(left), min(bottom), max(right), max(top)

    @property
    def chars(self) -> int:
        return sum(one.box is not None for one in self.glyphs)

    @property
    def unmapped(self) -> int:
        return sum(one.unmapped for one in self.glyphs)

    def split(self, sights: Sequence[Sight]) -> Iterator[tuple[Sight, Run]]:
        """Parts of one sight, in order. `sights`: of each glyph that has a box.

        White space goes with the part before it. Punctuation alone hides nothing in a line that is
        seen: a comma has too little ink to be sure. A word goes with its hidden letters if less
        than a third of it is seen, such as the dot of an i that sticks out of a box.
        """
        given = iter(sights)
        sight, marked = Sight.SEEN, []
        for blank, word in groupby(self.glyphs, lambda glyph: glyph.box is None):
            of_word = [(sight if blank else next(given), glyph) for glyph in word]
            marked += of_word if blank else _together(of_word)
            sight = marked[-1][0]
        parts = [(one, [g for _, g in part]) for one, part in groupby(marked, lambda m: m[0])]
        if Sight.SEEN in sights:
            parts = [(one if any(map(is_word, p)) else Sight.SEEN, p) for one, p in parts]
        for sight, same in groupby(parts, lambda part: part[0]):
            yield sight, Run([glyph for _, part in same for glyph in part])


def _together(word: list[tuple[Sight, Glyph]]) -> list[tuple[Sight, Glyph]]:
    dark = [sight for sight, _ in word if sight is not Sight.SEEN]
    if len(dark) < 2 or len(word) - len(dark) >= _LEAST_SEEN * len(word):
        return word
    return [(dark[0] if sight is Sight.SEEN else sight, glyph) for sight, glyph in word]


def is_word(glyph: Glyph) -> bool:
    """Whether the character is a letter or a digit of any script."""
    return glyph.box is not None and (chr(glyph.code).isalnum() or glyph.code > 0xD7FF)


@dataclass(frozen=True)
class Projection:
    """Converts points of the page to pixels of its upright image."""

    scale: float  #: pixels per point
    bounds: Box  #: left, bottom, right, top of the visible page in points
    rotation: int  #: degrees clockwise

    @classmethod
    def of(cls, page: pdfium.PdfPage, scale: float) -> Projection:
        return cls(scale, page.get_bbox(), page.get_rotation())

    def __call__(self, box: Box) -> Box:
        """left, bottom, right, top in points -> left, top, right, bottom in pixels."""
        x0, y0, x1, y1 = box
        left, bottom, right, top = self.bounds
        turned = {
            0: (x0 - left, top - y1, x1 - left, top - y0),
            90: (y0 - bottom, x0 - left, y1 - bottom, x1 - left),
            180: (right - x1, y0 - bottom, right - x0, y1 - bottom),
            270: (top - y1, right - x1, top - y0, right - x0),
        }[self.rotation]
        a, b, c, d = (value * self.scale for value in turned)
        return a, b, c, d

    def shows(self, run: Run) -> bool:
        """Whether the run has characters and its centre is inside the visible page."""
        if not run.chars:
            return False
        left, bottom, right, top = run.box
        x, y = (left + right) / 2, (bottom + top) / 2
        x0, y0, x1, y1 = self.bounds
        return x0 <= x <= x1 and y0 <= y <= y1


def runs_of(textpage: pdfium.PdfTextPage) -> Iterator[Run]:
    """One run for each line that pdfium finds; 20 ms for 2,600 characters."""
    run = Run()
    for index in range(textpage.count_chars()):
        said = min(pdfium_c.FPDFText_GetUnicode(textpage, index), sys.maxunicode)
        added = pdfium_c.FPDFText_IsGenerated(textpage, index) == 1
        if said in (10, 13) and added:  # a font may call a letter so
            yield run
            run = Run()
            continue
        box = textpage.get_charbox(index)
        code = _cleaned(said, drawn=_has_outline(box))
        if code is None:
            continue
        if added or chr(code).isspace():
            run.glyphs.append(Glyph(code))
            continue
        glyph = Glyph(
            code,
            box,
            address_of(pdfium_c.FPDFText_GetTextObject(textpage, index)),
            pdfium_c.FPDFText_HasUnicodeMapError(textpage, index) == 1,
            index,
        )
        run.glyphs.append(glyph)
    yield run


_SOFT_HYPHEN = 0xAD
#: ZERO WIDTH SPACE, WORD JOINER, the byte order mark, and the soft hyphen of an unbroken word.
_UNSEEN = frozenset({0x200B, 0x2060, 0xFEFF, _SOFT_HYPHEN})
_IDEOGRAPHIC_SPACE = 0x3000


def _cleaned(code: int, *, drawn: bool) -> int | None:
    """The code that goes into the text; None: none. `drawn`: the character has an outline.

    All white space becomes a space, so that a line of text has no line break in it: form feeds,
    U+0085, U+2028. A control byte for a letter that is drawn becomes U+FFFD, any other is dropped.
    """
    char = chr(code)
    if char.isprintable():
        return code
    category = unicodedata.category(char)
    if code in (_HYPHEN, _SOFT_HYPHEN) and drawn:
        return ord("-")
    if code in _UNSEEN:
        return None
    if category in ("Cc", "Zl", "Zp") and drawn:
        return ord("\N{REPLACEMENT CHARACTER}")
    if char.isspace():
        return code if code == _IDEOGRAPHIC_SPACE else ord(" ")
    return None if category == "Cc" else code


def _has_outline(box: Box) -> bool:
    """pdfium gives an empty outline the width of its character and 1/1000 em of height."""
    width, height = box[2] - box[0], box[3] - box[1]
    return min(width, height) > max(width, height) / 100


def address_of(item: Any) -> int:
    """The address of a page object; 0 for none."""
    return ctypes.cast(item, ctypes.c_void_p).value or 0
