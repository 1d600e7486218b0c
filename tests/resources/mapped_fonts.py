"""PDFs with embedded fonts whose maps to characters (ToUnicode) say what a test wants."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from hand_written_pdf import PdfPage, stream, written_pdf

#: What the layer says for a drawn character.
Claims = Callable[[str], str]


def right(char: str) -> str:
    """The map of a sound font."""
    return char


@dataclass(frozen=True)
class Line:
    """A line of text in one font. `turn`: the text matrix without its place."""

    text: str
    font: Path
    claims: Claims = right
    size: float = 12
    x: float = 60
    y: float = 780
    turn: str = "1 0 0 1"
    spacing: float = 0
    mode: int = 0


def lines(
    texts: Sequence[str],
    font: Path,
    claims: Claims = right,
    *,
    y: float = 740,
    size: float = 12,
) -> list[Line]:
    """Lines below each other from y downwards."""
    return [Line(text, font, claims, size, y=y - 1.5 * size * n) for n, text in enumerate(texts)]


def mapped_pdf(drawn: Sequence[Line], content: str = "") -> bytes:
    """One page. Lines of one font and one map share a font object."""
    keys = list(dict.fromkeys((line.font, line.claims) for line in drawn))
    objects: list[bytes] = []
    operators, names = [content], []
    for number, (file, claims) in enumerate(keys):
        texts = [line.text for line in drawn if (line.font, line.claims) == (file, claims)]
        font = _Embedded(file, "".join(sorted(set("".join(texts)))))
        names.append(f"/G{number} {100 + len(objects)} 0 R")
        objects += font.objects(100 + len(objects), claims)
        for line in drawn:
            if (line.font, line.claims) == (file, claims):
                operators.append(
                    f"BT /G{number} {line.size} Tf {line.mode} Tr {line.spacing} Tc"
                    f" {line.turn} {line.x} {line.y} Tm <{font.codes(line.text)}> Tj ET"
                )
    page = PdfPage("\n".join(operators))
    data = written_pdf([page], objects)
    # The fonts' dictionary of the page has one entry of its own.
    return _again(data, "/F1 3 0 R", f"/F1 3 0 R {' '.join(names)}")


def _again(data: bytes, old: str, new: str) -> bytes:
    """The file with one string longer, and a table that fits."""
    moved = len(new) - len(old)
    at = data.index(old.encode())
    data = data.replace(old.encode(), new.encode(), 1)
    start = data.index(b"xref\n0 ")
    table = data[start:].split(b"\n")
    for n, row in enumerate(table):
        if row.endswith(b" n ") and int(row[:10]) > at:
            table[n] = b"%010d 00000 n " % (int(row[:10]) + moved)
        elif row == b"startxref":
            table[n + 1] = b"%d" % start
    return data[:start] + b"\n".join(table)


class _Embedded:
    """A subset of a font as a composite font with two-byte codes."""

    def __init__(self, file: Path, characters: str) -> None:
        self._data, self._font = _subset(file, characters)
        self._names = self._font.getBestCmap()
        self._characters = [char for char in characters if ord(char) in self._names]

    def _glyph(self, char: str) -> int:
        return self._font.getGlyphID(self._names[ord(char)])

    def codes(self, text: str) -> str:
        """Hexadecimal codes; characters that the font lacks are left out."""
        known = set(self._characters)
        return "".join(f"{self._glyph(char):04X}" for char in text if char in known)

    def objects(self, first: int, claims: Claims) -> list[bytes]:
        """Five objects, numbered from `first` on; the first is the font."""
        em = self._font["head"].unitsPerEm
        outlines = "FontFile3" if "CFF " in self._font else "FontFile2"
        kind = "CIDFontType0" if "CFF " in self._font else "CIDFontType2"
        widths = " ".join(
            f"{self._glyph(char)} [{1000 * self._font['hmtx'][self._names[ord(char)]][0] / em:.0f}]"
            for char in self._characters
        )
        said = "\n".join(
            f"<{self._glyph(char):04X}> <{claims(char).encode('utf-16-be').hex()}>"
            for char in self._characters
        )
        cmap = (
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n"
            "1 begincodespacerange <0000> <FFFF> endcodespacerange\n"
            f"{len(self._characters)} beginbfchar\n{said}\nendbfchar\nendcmap end end"
        )
        name = self._font["name"].getDebugName(6) or "Font"
        to_unix = "/CIDToGIDMap /Identity" if kind == "CIDFontType2" else ""
        subtype = "/Subtype /OpenType" if outlines == "FontFile3" else ""
        return [
            (
                f"<< /Type /Font /Subtype /Type0 /BaseFont /{name} /Encoding /Identity-H"
                f" /DescendantFonts [{first + 1} 0 R] /ToUnicode {first + 2} 0 R >>"
            ).encode(),
            (
                f"<< /Type /Font /Subtype /{kind} /BaseFont /{name} {to_unix} /CIDSystemInfo"
                " << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >>"
                f" /FontDescriptor {first + 3} 0 R /W [{widths}] >>"
            ).encode(),
            stream(cmap.encode()),
            (
                f"<< /Type /FontDescriptor /FontName /{name} /Flags 4 /FontBBox [0 -300 1000 1000]"
                " /ItalicAngle 0 /Ascent 900 /Descent -200 /CapHeight 700 /StemV 80"
                f" /{outlines} {first + 4} 0 R >>"
            ).encode(),
            stream(self._data, subtype),
        ]


@cache
def _subset(file: Path, characters: str) -> tuple[bytes, TTFont]:
    options = Options(layout_features=[], notdef_outline=True, drop_tables=["GSUB", "GPOS", "GDEF"])
    font = TTFont(file, fontNumber=0)
    subsetter = Subsetter(options)
    subsetter.populate(text=characters)
    subsetter.subset(font)
    out = io.BytesIO()
    font.flavor = None
    font.save(out)
    return out.getvalue(), TTFont(io.BytesIO(out.getvalue()))


def installed(pattern: str) -> Path:
    """The file of a family and style by fontconfig's pattern, such as "DejaVu Serif:bold"."""
    command = ["fc-match", "--format=%{file}", pattern]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
