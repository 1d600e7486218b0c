"""Line crops as a detector cuts them, rendered from free fonts and worn like scans."""

from __future__ import annotations

import random
import subprocess
from functools import cache
from itertools import count
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from actors.ocr.pp_ocr.detection import LINE_HEIGHT
from actors.ocr.pp_ocr.packing import line_columns
from actors.ocr.scripts.recipe.alphabets import NONE, line

Pixels = npt.NDArray[np.uint8]

#: Language code of fontconfig for each script class.
_LANGUAGE = {
    "Latn": "pl",
    NONE: "pl",
    "Viet": "vi",
    "Cyrl": "uk",
    "Grek": "el",
    "Arab": "ar",
    "Hebr": "he",
    "Deva": "hi",
    "Thai": "th",
    "Hang": "ko",
    "Hani": "ja",
    "Beng": "bn",
    "Guru": "pa",
    "Gujr": "gu",
    "Orya": "or",
    "Taml": "ta",
    "Telu": "te",
    "Knda": "kn",
    "Mlym": "ml",
    "Sinh": "si",
    "Laoo": "lo",
    "Mymr": "my",
    "Khmr": "km",
    "Geor": "ka",
    "Armn": "hy",
    "Ethi": "am",
}
#: Fonts that no training line uses: `evaluate` takes them alone.
HELD_OUT = (
    *("FreeSerif", "DejaVuSerif", "LiberationSerif", "NotoSerifCJK-Bold", "NotoNaskhArabic"),
    *("NotoSerifDevanagari", "NotoSerifHebrew", "Norasi", "Kinnari", "NotoSerifDisplay"),
)
#: Fonts whose glyphs for the script are not those of its texts.
_ODD = ("NotoSansMath", "Music", "Nastaliq", "Mono-", "Mono.", "MonoO", "MonoB", "Typewriter")
#: Lines without a letter that a font lacks are tried this often.
_PATIENCE = 20


@cache
def fonts(script: str, held_out: bool) -> tuple[str, ...]:
    """Files of the fonts for a script: those of training, or those held out.

    A script whose fonts are all on one side has these on both.
    """
    listed = subprocess.run(
        ["fc-list", f":lang={_LANGUAGE[script]}", "file"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    named = {one.strip().rstrip(":").strip() for one in listed.splitlines()}
    # Ghostscript's packages bring Type 1 fonts, too, which fontTools cannot open here.
    files = sorted(one for one in named if one.lower().endswith((".ttf", ".otf", ".ttc")))
    if script not in ("Latn", NONE):
        files = [one for one in files if not any(odd in one for odd in _ODD)]
    chosen = [one for one in files if any(name in one for name in HELD_OUT) == held_out]
    return tuple(chosen or files)


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.RAQM)


def crop(script: str, chance: random.Random, held_out: bool = False) -> Pixels:
    """A BGR crop (48, W, 3) of a random line of a script, worn."""
    text, path = _written(script, chance, chance.choice(fonts(script, held_out)))
    font = _font(path, chance.choice((22, 30, 40, 52)))
    stacked = script in ("Hani", "Hang") and chance.random() < 0.1
    page = _vertical(text[:20], font) if stacked else _drawn(text, font)
    return worn(_cut(page, chance), chance)


def page_crops(
    script: str, chance: random.Random, lines: int, held_out: bool = False
) -> list[Pixels]:
    """The crops of the lines of a page: one font, and the same wear for all."""
    size, wear = chance.choice((22, 30, 40, 52)), chance.random()
    path = chance.choice(fonts(script, held_out))
    found = []
    for _ in range(lines):
        text, path = _written(script, chance, path)
        found.append(worn(_cut(_drawn(text, _font(path, size)), chance), random.Random(wear)))
    return found


def _written(script: str, chance: random.Random, path: str) -> tuple[str, str]:
    """A line and a font that has its letters; other characters are left out.

    The font is `path`, or another if `path` lacks letters of some lines.
    """
    for attempt in count():
        text = line(script, chance, chance.choice((4, 10, 20, 35)))
        if attempt > _PATIENCE:
            path = chance.choice([*fonts(script, False), *fonts(script, True)])
        has = _characters(path)
        letters = [char for char in text if char.isalpha()]
        if all(ord(char) in has for char in letters):
            shown = "".join(char for char in text if ord(char) in has).strip()
            if shown:
                return shown, path
    raise AssertionError("unreachable")


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(TTFont(path, fontNumber=0, lazy=True).getBestCmap())


def _drawn(text: str, font: ImageFont.FreeTypeFont) -> Pixels:
    """Black on white with a border of one font size."""
    left, top, right, bottom = font.getbbox(text)
    room = int(font.size)
    size = (int(right - left) + 2 * room, int(bottom - top) + 2 * room)
    page = Image.new("L", size, 255)
    ImageDraw.Draw(page).text((room - left, room - top), text, font=font, fill=0)
    return np.asarray(page)


def _vertical(text: str, font: ImageFont.FreeTypeFont) -> Pixels:
    """Glyphs below each other, then turned as the reader turns tall crops."""
    room, step = int(font.size), int(font.size * 1.05)
    page = Image.new("L", (3 * room, 2 * room + step * len(text)), 255)
    pen = ImageDraw.Draw(page)
    for place, char in enumerate(text):
        pen.text((1.5 * room, room + step * (place + 0.5)), char, font=font, fill=0, anchor="mm")
    return np.ascontiguousarray(np.rot90(np.asarray(page)))


def _cut(page: Pixels, chance: random.Random) -> Pixels:
    """The ink with a margin, as a detector cuts it; sometimes a little of it is cut off."""
    rows, columns = (np.flatnonzero((page < 128).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return np.full((LINE_HEIGHT, LINE_HEIGHT), 255, np.uint8)
    high = rows[-1] - rows[0] + 1
    margins = [int(chance.uniform(-0.04, 0.35) * high) for _ in range(2)]
    sides = [int(chance.uniform(0, 0.4) * high) for _ in range(2)]
    top, bottom = max(0, rows[0] - margins[0]), rows[-1] + 1 + margins[1]
    left, right = max(0, columns[0] - sides[0]), columns[-1] + 1 + sides[1]
    return page[top:bottom, left:right]


def worn(page: Pixels, chance: random.Random) -> Pixels:
    """A gray line with the faults of scans, as a BGR crop (48, W, 3)."""
    picture: MatLike = page
    if chance.random() < 0.3:
        picture = _slanted(picture, chance)
    if chance.random() < 0.3:
        kernel = np.ones((2, 1 + chance.randrange(2)), np.uint8)
        change: Any = chance.choice((cv2.erode, cv2.dilate))
        picture = change(picture, kernel)
    if chance.random() < 0.5:  # a scan of few pixels
        height = chance.randint(14, 30)
        width = max(4, round(picture.shape[1] * height / picture.shape[0]))
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    width = line_columns(LINE_HEIGHT * picture.shape[1] / picture.shape[0])
    values: MatLike = cv2.resize(picture, (width, LINE_HEIGHT)).astype(np.float32)
    if chance.random() < 0.4:
        values = cv2.GaussianBlur(values, (0, 0), chance.uniform(0.4, 1.6))
    dark, light = chance.uniform(0, 110), chance.uniform(150, 255)
    values = dark + values / 255 * (light - dark)
    noise = np.random.default_rng(chance.randrange(2**32))
    values += np.linspace(0, chance.uniform(-40, 40), width, dtype=np.float32)[None]
    values += noise.normal(0, chance.choice((0, 3, 9)), values.shape)
    if chance.random() < 0.08:
        values = 255 - values
    gray: MatLike = np.clip(values, 0, 255).astype(np.uint8)
    if chance.random() < 0.3:
        quality = [int(cv2.IMWRITE_JPEG_QUALITY), chance.randint(15, 60)]
        file = cv2.imencode(".jpg", gray, quality)[1]
        return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)


def _slanted(page: MatLike, chance: random.Random) -> Pixels:
    """Sheared like italics, and turned by up to 1.5 degrees."""
    height, width = page.shape
    shear, rise = chance.uniform(-0.15, 0.25), chance.uniform(-0.026, 0.026)
    rise = float(np.clip(rise, -0.3 * height / width, 0.3 * height / width))
    matrix = np.array([[1, -shear, shear * height / 2], [rise, 1, -rise * width / 2]], np.float32)
    return np.asarray(cv2.warpAffine(page, matrix, (width, height), borderValue=255), np.uint8)
