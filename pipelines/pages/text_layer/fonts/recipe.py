"""Bakes `templates.npz` from free fonts. No reader imports it.

    python -m pipelines.pages.text_layer.fonts.recipe

It needs Debian's packages `fonts-dejavu fonts-freefont-ttf fonts-liberation fonts-urw-base35
fonts-noto-core fonts-noto-extra fonts-noto-cjk fonts-tlwg-*`, and matplotlib for Computer Modern.
It takes two minutes on one core.

What it stores is no font: 24 numbers for each form of a character, from which no outline can be
drawn again. Sources and licences of the shapes: DejaVu and Bitstream Vera (their own free licence),
Liberation, Noto and Noto CJK (OFL 1.1), FreeFont and TLWG (GPL with font exception), URW base 35
(AGPL with font exception), Computer Modern (BaKoMa licence), STIX (OFL 1.1).

1. Glyphs become vectors (`outlines.features`).
2. Digits are added in old style, and capitals at the height of small capitals.
3. Fisher's linear discriminant finds the 24 directions in which characters differ most, compared
   with the differences between faces. A distance of 1 is then the spread of a character over faces.
4. The forms of a character over all faces become up to five templates (k-means); one in East Asia.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font, LoadFlags
from matplotlib.path import Path as Curve
from sklearn.cluster import KMeans

from pipelines.pages.text_layer.fonts import alphabets
from pipelines.pages.text_layer.fonts.outlines import Floats, features, joined
from pipelines.pages.text_layer.fonts.templates import FILE

DIMENSIONS = 24
TEMPLATES, TEMPLATES_EAST = 5, 1
_FONTS = Path("/usr/share/fonts")
_TYPEFACES = (
    *("opentype/urw-base35/*.otf", "truetype/dejavu/*.ttf", "truetype/freefont/*.ttf"),
    *("truetype/liberation/*.ttf", "truetype/tlwg/*.ttf"),
    *(
        f"truetype/noto/Noto{name}-*.ttf"
        for name in (
            *("Sans", "Serif", "SansDisplay", "SerifDisplay", "SansMono", "SansHebrew"),
            *("SerifHebrew", "SansThai", "SerifThai", "LoopedThai", "SansDevanagari"),
            *("SerifDevanagari", "SansArmenian", "SerifArmenian", "SansGeorgian", "SerifGeorgian"),
        )
    ),
)
_MODERN = ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10", "STIXGeneral", "STIXGeneralItalic")
#: Fonts in which letters are not those of texts.
_ODD = ("D050000L", "StandardSymbols", "MathTeX")
#: Number of a face in a collection of Noto CJK, and what is taken from it.
_EAST_FACES = {0: "Japanese", 1: "Korean", 2: "simplified Chinese"}
#: Height of small capitals, and of x, against capitals; how far old-style digits hang down.
_SMALL, _HANG = 0.76, 0.2
_FREETYPE = 64  # units of FreeType for a unit of the font
#: Points of a curve: control points and the end.
_POINTS = {int(Curve.CURVE3): 2, int(Curve.CURVE4): 3}
_SHRINKAGE = 0.003  # keeps rare pixels from getting a boundless weight


def glyphs(file: Path, characters: str, face: int = 0) -> Iterator[tuple[str, Floats]]:
    """(character, outline) of every glyph that the font has for one of `characters`."""
    font = FT2Font(file, face_index=face)
    em = font.units_per_EM / _FREETYPE
    for char in characters:
        if font.get_char_index(ord(char)):
            font.load_char(ord(char), flags=LoadFlags.NO_SCALE)
            points, codes = font.get_path()
            outline = _outline(points / em, codes.tolist())
            if outline is not None:
                yield char, outline


def _outline(points: Floats, codes: Sequence[int]) -> Floats | None:
    """The edges of a path of matplotlib: quadratic curves become cubic ones."""
    lines, curves = [], []
    start = at = points[:1].ravel()
    place = 0
    while place < len(codes):
        code = codes[place]
        ends = points[place : place + _POINTS.get(code, 1)]
        place += len(ends)
        if code == Curve.MOVETO:
            start = ends[0]
        elif code == Curve.CLOSEPOLY:
            lines.append([*at, *start])
        elif code == Curve.LINETO:
            lines.append([*at, *ends[0]])
        else:
            controls = [(at + 2 * ends[0]) / 3, (2 * ends[0] + ends[1]) / 3]
            controls = controls if code == Curve.CURVE3 else list(ends[:2])
            curves.append([*at, *controls[0], *controls[1], *ends[-1]])
        at = start if code == Curve.CLOSEPOLY else ends[-1]
    return joined(np.array(lines).reshape(-1, 4), np.array(curves).reshape(-1, 8))


def fonts() -> list[Path]:
    """The fonts of the short alphabets."""
    found = [f for pattern in _TYPEFACES for f in sorted(_FONTS.glob(pattern))]
    modern = Path(matplotlib.get_data_path()) / "fonts/ttf"
    found += [modern / f"{name}.ttf" for name in _MODERN]
    return [font for font in found if not any(odd in font.name for odd in _ODD)]


def _variants(char: str, outline: Floats) -> Iterator[tuple[str, Floats]]:
    """The glyph, and the forms of it that no free font of Debian has as a face of its own."""
    yield char, outline
    if char in "012":
        yield char, outline * _SMALL
    elif char in "34579":
        yield char, outline - np.array([0, _HANG, 0, _HANG])
    elif char.isupper() and len(char.lower()) == 1:
        yield char.lower(), outline * _SMALL


def samples() -> Iterator[tuple[str, Floats]]:
    """(character, vector) of every glyph of every font."""
    for font in fonts():
        print(font.name, file=sys.stderr)
        for glyph in glyphs(font, alphabets.alphabet()):
            for char, outline in _variants(*glyph):
                yield char, features(outline)
    east = alphabets.east_asian()
    hangul = "".join(c for c in east if 0xAC00 <= ord(c) <= 0xD7A3)
    others = "".join(c for c in east if c not in set(hangul))
    for font in sorted((_FONTS / "opentype/noto").glob("Noto*CJK-*.ttc")):
        for face, name in _EAST_FACES.items():
            print(font.name, name, file=sys.stderr)
            for char, outline in glyphs(font, hangul if name == "Korean" else others, face):
                yield char, features(outline)


def discriminant(vectors: Floats, labels: Sequence[int]) -> Floats:
    """Projection (features, DIMENSIONS) after which faces differ by 1 in every direction."""
    where = np.asarray(labels)
    counts = np.bincount(where)
    means = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(means, where, vectors)
    means /= counts[:, None]
    apart = vectors - means[where]
    # Every character weighs the same, however many faces have it.
    within = (apart / counts[where][:, None]).T @ apart / len(counts)
    values, directions = np.linalg.eigh(within + _SHRINKAGE * np.eye(len(within)))
    whitening = directions / np.sqrt(values)
    between = (means - means.mean(0)) @ whitening
    _, best = np.linalg.eigh(between.T @ between)
    projection: Floats = whitening @ best[:, ::-1][:, :DIMENSIONS]
    return projection


def forms(points: Floats, most: int) -> Floats:
    """Up to `most` centres of the points."""
    distinct = len(np.unique(points.round(2), axis=0))
    fitted = KMeans(min(most, distinct), n_init=2, random_state=0).fit(points)
    centres: Floats = fitted.cluster_centers_
    return centres


def bake(pairs: Sequence[tuple[str, Floats]]) -> str:
    """Writes the file; a line about it."""
    characters = sorted({char for char, _ in pairs})
    number = {char: n for n, char in enumerate(characters)}
    labels = np.array([number[char] for char, _ in pairs])
    vectors = np.array([vector for _, vector in pairs], np.float32).astype(float)
    projection = discriminant(vectors, labels.tolist())
    projected = vectors @ projection
    centres, owners = [], []
    for n, char in enumerate(characters):
        east = alphabets.is_east_asian(char)
        found = forms(projected[labels == n], TEMPLATES_EAST if east else TEMPLATES)
        centres.append(found)
        owners += [n] * len(found)
    stacked = np.vstack(centres)
    step = np.abs(stacked).max(axis=0) / 127
    np.savez_compressed(
        FILE,
        characters=np.array([ord(char) for char in characters], np.int32),
        owners=np.array(owners, np.int16),
        templates=np.round(stacked / step).astype(np.int8),
        step=step.astype(np.float32),
        projection=projection.astype(np.float16),
    )
    return f"{len(characters)} characters, {len(owners)} templates, {FILE.stat().st_size:,} bytes"


def main() -> None:
    print(bake(list(samples())))


if __name__ == "__main__":
    main()
