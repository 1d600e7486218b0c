"""Upright pages of several kinds, rendered with Debian's fonts, for `benchmarks/turned.py`.

Every page has a true text, line by line. The same seed gives the same page.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from cv2.typing import MatLike
from PIL import Image, ImageDraw, ImageFont

_FONTS = Path("/usr/share/fonts")
_LATIN = (
    "truetype/dejavu/DejaVuSans.ttf",
    "truetype/dejavu/DejaVuSerif.ttf",
    "truetype/liberation/LiberationSerif-Regular.ttf",
    "truetype/liberation/LiberationSans-Regular.ttf",
    "truetype/liberation/LiberationMono-Regular.ttf",
)
_CJK = "opentype/noto/NotoSansCJK-Regular.ttc"

_TEXT = """
the of and a to in for was on that with from letter account river market winter paper garden number
station evening council window captain village history report water school summer morning payment
minute harbour record library between several already however machine question building northern
company weather railway journey kitchen teacher silver country
"""
_WORDS = _TEXT.split()
_HAN = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过"
    "子说产种面而方后多定行学法所民得经"
)
_KANA = (
    "のにはをたがでてとしれさあるいもなどこその日本人大学年会国中出時行見月分後前生五間上東四今金"
    "九入"
)


@dataclass(frozen=True)
class RenderedPage:
    """A page: `name`, `kind`, BGR `pixels` (H, W, 3), and the true text of each line."""

    name: str
    kind: str
    pixels: MatLike
    lines: tuple[str, ...]


class _Sheet:
    """A white page that collects the texts drawn on it."""

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        self.chance = random.Random(seed)
        self.image = Image.new("L", size, 250)
        self.draw = ImageDraw.Draw(self.image)
        self.latin = self.chance.choice(_LATIN)
        self.lines: list[str] = []

    def font(self, size: int, name: str | None = None) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(str(_FONTS / (name or self.latin)), size)

    def write(self, at: tuple[int, int], text: str, size: int, name: str | None = None) -> None:
        self.draw.text(at, text, fill=20, font=self.font(size, name))
        self.lines.append(text)

    def words(self, count: int) -> str:
        return " ".join(self.chance.choice(_WORDS) for _ in range(count))

    def price(self) -> str:
        return f"{self.chance.randint(1, 999)}.{self.chance.randint(0, 99):02d}"

    def characters(self, count: int, of: str) -> str:
        return "".join(self.chance.choice(of) for _ in range(count))


def _prose(sheet: _Sheet) -> None:
    for row in range(sheet.chance.randint(18, 40)):
        sheet.write((150, 150 + row * 50), sheet.words(9).capitalize(), 30)


def _columns(sheet: _Sheet) -> None:
    for left in (100, 880):
        for row in range(30):
            sheet.write((left, 150 + row * 50), sheet.words(5), 28)


def _form(sheet: _Sheet) -> None:
    for row in range(14):
        top = 160 + row * 110
        sheet.draw.rectangle((140, top - 20, 1500, top + 70), outline=60, width=2)
        sheet.write((160, top), sheet.words(2).title() + ":", 26)
        sheet.write((700, top + 4), sheet.chance.choice((sheet.words(3), sheet.price())), 30)


def _receipt(sheet: _Sheet) -> None:
    sheet.write((200, 40), sheet.words(2).upper(), 40)
    for row in range(sheet.chance.randint(8, 20)):
        sheet.write((40, 140 + row * 48), sheet.words(2), 28)
        sheet.write((580, 140 + row * 48), sheet.price(), 28)
    sheet.write((40, 1240), f"TOTAL {sheet.price()}", 36)


def _short(sheet: _Sheet) -> None:
    for row in range(3):
        sheet.write((200, 300 + row * 70), sheet.words(sheet.chance.randint(2, 6)), 34)


def _figures(sheet: _Sheet) -> None:
    """A landscape table of numbers, with headings that stand upright on their side."""
    for column in range(7):
        name = sheet.words(2)
        tile = Image.new("L", (260, 50), 250)
        ImageDraw.Draw(tile).text((4, 4), name, fill=20, font=sheet.font(28))
        sheet.image.paste(tile.rotate(90, expand=True), (420 + column * 240, 60))
        sheet.lines.append(name)
    for row in range(16):
        sheet.write((100, 380 + row * 60), sheet.words(2), 28)
        for column in range(7):
            sheet.write((400 + column * 240, 380 + row * 60), sheet.price(), 28)


def _chinese(sheet: _Sheet) -> None:
    for row in range(20):
        sheet.write((150, 150 + row * 62), sheet.characters(24, _HAN), 40, _CJK)


def _vertical(sheet: _Sheet) -> None:
    """Japanese in columns from right to left."""
    for column in range(14):
        text = sheet.characters(28, _KANA)
        for row, character in enumerate(text):
            place = (1450 - column * 80, 120 + row * 46)
            sheet.draw.text(place, character, fill=20, font=sheet.font(40, _CJK))
        sheet.lines.append(text)


def _blank(sheet: _Sheet) -> None:
    pass


_PORTRAIT, _LANDSCAPE, _SLIP = (1654, 2339), (2339, 1654), (800, 1400)
#: kind -> (how it is drawn, size in pixels, pages)
KINDS: dict[str, tuple[Callable[[_Sheet], None], tuple[int, int], int]] = {
    "prose": (_prose, _PORTRAIT, 8),
    "two columns": (_columns, _PORTRAIT, 4),
    "form": (_form, _PORTRAIT, 6),
    "receipt, rendered": (_receipt, _SLIP, 6),
    "three lines": (_short, _PORTRAIT, 10),
    "landscape table": (_figures, _LANDSCAPE, 4),
    "Chinese": (_chinese, _PORTRAIT, 4),
    "vertical Japanese": (_vertical, _PORTRAIT, 4),
    "blank": (_blank, _PORTRAIT, 1),
}


def rendered_pages(seed: int = 0) -> list[RenderedPage]:
    """All pages of KINDS; another seed gives other texts and fonts."""
    pages = []
    for place, (kind, (drawn, size, count)) in enumerate(KINDS.items()):
        for number in range(count):
            sheet = _Sheet(size, seed=seed + 1000 * place + number)
            drawn(sheet)
            pixels = cv2.cvtColor(np.asarray(sheet.image), cv2.COLOR_GRAY2BGR)
            pages.append(RenderedPage(f"{kind} {number}", kind, pixels, tuple(sheet.lines)))
    return pages
