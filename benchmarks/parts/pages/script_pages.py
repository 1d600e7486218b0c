"""Pages in many scripts, rendered with Debian's fonts.

The texts (script_texts.yaml) are articles of the Universal Declaration of Human Rights.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image, ImageDraw, ImageFont, features

_TEXTS = Path(__file__).with_name("script_texts.yaml")
#: Folders of Debian's fonts-noto-core, fonts-noto-cjk, fonts-dejavu-core, fonts-freefont-ttf.
_FOLDERS = ("truetype/noto", "opentype/noto", "truetype/dejavu", "truetype/freefont")
#: Pixels: the width of a page, its margin, and the height of a letter (12 points at 200 dpi).
WIDTH, MARGIN, SIZE = 1240, 90, 34


@dataclass(frozen=True)
class Language:
    """A text and the fonts that hold its letters.

    Attributes:
        key: a key of `reader`'s map by script (`pipelines.decisions.readers.ByScript`).
        code: Tesseract's name of the language.
        fonts: names of files of Debian's font packages.
        right_to_left: whether lines start at the right.
    """

    key: str
    code: str
    fonts: tuple[str, ...]
    right_to_left: bool = False

    @property
    def paragraphs(self) -> list[str]:
        """The text. Lines may break at blanks and at bars."""
        texts: dict[str, list[str]] = yaml.safe_load(_TEXTS.read_text(encoding="utf-8"))
        return texts[self.code]


@dataclass(frozen=True)
class Page:
    """A rendered page.

    Attributes:
        lines: texts in logical order, from the first line to the last.
        boxes: (N, 4) float32, x0, y0, x1, y1 of the ink of each line, pixels.
    """

    language: Language
    picture: Image.Image
    lines: list[str] = field(default_factory=list)
    boxes: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))

    @property
    def png(self) -> bytes:
        """The page as a PNG file."""
        buffer = io.BytesIO()
        self.picture.save(buffer, "PNG")
        return buffer.getvalue()


_SANS = ("NotoSans-Regular.ttf", "NotoSerif-Regular.ttf", "NotoSerif-Italic.ttf")
_CJK_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSerifCJK-Regular.ttc")

LANGUAGES = (
    Language("latin", "eng", _SANS),
    Language("vietnamese", "vie", _SANS),
    Language("han", "chi_sim", _CJK_FONTS),
    Language("cyrillic", "rus", _SANS),
    Language("greek", "ell", _SANS),
    Language(
        "arabic",
        "ara",
        ("NotoNaskhArabic-Regular.ttf", "NotoSansArabic-Regular.ttf"),
        True,
    ),
    Language(
        "hebrew",
        "heb",
        ("DejaVuSans.ttf", "FreeSerif.ttf"),
        True,
    ),
    Language(
        "devanagari",
        "hin",
        ("NotoSansDevanagari-Regular.ttf", "NotoSerifDevanagari-Regular.ttf"),
    ),
    Language("thai", "tha", ("NotoLoopedThai-Regular.ttf", "NotoSerifThai-Regular.ttf")),
    Language("hangul", "kor", _CJK_FONTS),
)


def font_file(name: str) -> Path | None:
    """The file of a font; None if it is not installed."""
    places = (Path("/usr/share/fonts") / folder / name for folder in _FOLDERS)
    return next((one for one in places if one.is_file()), None)


def missing(language: Language) -> str:
    """What this machine lacks to render a page in `language`, or ""."""
    for name in language.fonts:
        if font_file(name) is None:
            packages = "fonts-noto-core fonts-noto-cjk fonts-dejavu-core fonts-freefont-ttf"
            return f"no {name}: apt-get install {packages}"
    return "" if features.check("raqm") else "Pillow is built without libraqm"


def pages(languages: tuple[Language, ...] = LANGUAGES, size: int = SIZE) -> Iterator[Page]:
    """One page for each language and font."""
    for language in languages:
        for name in language.fonts:
            yield page(language, name, size)


def page(
    language: Language, font: str, size: int = SIZE, turn: float = 0.0, text: str | None = None
) -> Page:
    """A text in the direction of `language`, letters of `size` pixels.

    Args:
        language: gives the direction, and the text unless there is one.
        font: name of a file that `font_file` finds.
        size: pixels.
        turn: degrees counter-clockwise by which the picture is turned; `boxes` are those before it.
        text: one paragraph.
    """
    face = ImageFont.truetype(str(font_file(font)), size, layout_engine=ImageFont.Layout.RAQM)
    parts = language.paragraphs if text is None else [text]
    lines = [line for part in parts for line in _wrapped(part, face)]
    step = round(1.75 * size)
    height = 2 * MARGIN + step * len(lines)
    picture = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(picture)
    direction = "rtl" if language.right_to_left else "ltr"
    boxes = []
    for number, line in enumerate(lines):
        x, anchor = (WIDTH - MARGIN, "ra") if language.right_to_left else (MARGIN, "la")
        at = (x, MARGIN + number * step)
        draw.text(at, line, fill=(20, 20, 20), font=face, anchor=anchor, direction=direction)
        boxes.append(draw.textbbox(at, line, font=face, anchor=anchor, direction=direction))
    if turn:
        picture = picture.rotate(turn, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    return Page(language, picture, lines, np.array(boxes, np.float32))


def _wrapped(text: str, face: ImageFont.FreeTypeFont) -> list[str]:
    """`text` in lines that fit the page."""
    lines, line = [], ""
    for piece in re.split(r"(?<= )|\|", text):
        if line and face.getlength((line + piece).rstrip()) > WIDTH - 2 * MARGIN:
            lines.append(line.rstrip())
            line = ""
        line += piece
    return [*lines, line.rstrip()]
