"""Pages of free fonts with known words and places: the exact truth of every blank.

Running text, forms, tables, receipts, dates, prices and addresses; tracking, word gaps, blur, noise
and JPEG. The half `choose` is for fitting, `judge` for figures; they share no font, text or form.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Half = Literal["choose", "judge"]

FONTS = Path("/usr/share/fonts/truetype")
LICENCES = Path("/usr/share/common-licenses")
WIDTH, HEIGHT, MARGIN = 900, 1200, 50  # pixels
#: Faces of each half, as glob patterns below FONTS.
FACES: dict[Half, tuple[str, ...]] = {
    "choose": (
        "dejavu/DejaVuSans.ttf",
        "dejavu/DejaVuS*-Bold*.ttf",
        "dejavu/DejaVuSerif.ttf",
        "dejavu/DejaVuSansMono*.ttf",
        "liberation/LiberationSans*.ttf",
        "liberation/LiberationMono*.ttf",
        "freefont/Free[SM][ao]n*.ttf",
        "tlwg/Norasi*.ttf",
        "tlwg/Kinnari*.ttf",
    ),
    "judge": (
        "liberation/LiberationSerif*.ttf",
        "noto/NotoSans-*.ttf",
        "noto/NotoSerif-*.ttf",
        "noto/Noto*Display-*.ttf",
        "freefont/FreeSerif*.ttf",
        "tlwg/TlwgTypewriter*.ttf",
        "tlwg/Loma*.ttf",
    ),
}

_FOREIGN: dict[Half, tuple[str, ...]] = {
    "choose": (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft "
        "und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen. Jeder hat "
        "Anspruch auf die in dieser Erklärung verkündeten Rechte und Freiheiten ohne irgendeinen "
        "Unterschied.",
        "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués "
        "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
        "fraternité.",
    ),
    "judge": (
        "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como "
        "están de razón y conciencia, deben comportarse fraternalmente los unos con los otros. "
        "Toda persona tiene derecho a la vida, a la libertad.",
        "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati "
        "di ragione e di coscienza e devono agire gli uni verso gli altri in spirito di "
        "fratellanza.",
        "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd "
        "met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap "
        "te gedragen.",
    ),
}

#: Lines of forms, receipts and tables; `{...}` is filled by `_filled`. "   " parts two columns.
_FORMS: dict[Half, tuple[str, ...]] = {
    "choose": (
        "Name: {first} {last}   Date of birth: {day} {month} {year}",
        "Invoice no. {n5}   Date {d2}/{d2}/{year}",
        "TOTAL {cur}{price}",
        "{d1} x {item}   {price}",
        "{item} {d1}pc @ {price}   {price}",
        "Tel. {n4} {n3} {n3}   Fax: +{d2} {n3} {n4}",
        "E-mail {lower}@{lower}.org   www.{lower}.com/{lower}",
        "{n2} {last} Street, {last} {n5}",
        "VAT {d2}% incl. {price}   Net {price}",
        "Ref: {upper}{n3}-{n4}   Page {d1} of {d2}",
        "{day} {month} {year}, {d2}:{d2} h",
        "CASH {price}   CHANGE {price}",
        "Flat {d1}B, {last} House, {last} Road",
        "({d1}) {item} - {n2} kg, {price} {cur} / kg",
        "Receipt No.{n6}   Till {d1}",
        "{upper} {last} & Sons Ltd. (est. {year})",
    ),
    "judge": (
        "Surname {last}   Given names {first} {first}",
        "Account {n4} {n4} {n4}   Sort code {d2}-{d2}-{d2}",
        "AMOUNT DUE: {price} {cur}",
        "{item}   {d1}   {price}   {price}",
        "{d1}x{item} {price}",
        "Order #{n5}, {month} {day}, {year}",
        "Phone: ({n3}) {n3}-{n4}   Mobile {n5} {n6}",
        "https://{lower}.net/{lower}?id={n3}   {lower}.{lower}@{lower}.eu",
        "{last} Lane {n2}, {n4} {upper}{upper} {last}",
        "Subtotal {price}   Tax ({d1}.5%) {price}",
        "File {n3}/{year}   Sheet {d1}/{d2}",
        "Opened {d2}:{d2} - closed {d2}:{d2}   {d2}.{d2}.{year}",
        "GST ID: {n6}   Cashier {first}",
        "Fare {price} No. {n6} valid {day} {month} {year}",
        "{first} {last}, Keeper of {item}s ({n2} boxes)",
        "Weight {d1}.{n3} kg   Rate {d1},{d2} %",
    ),
}
_WORDS: dict[Half, dict[str, str]] = {
    "choose": {
        "first": "Anna Thomas Irene Walter Ruth Pavel José Chloé Martin Ada",
        "last": "Walker Ellis Brandt Moreau Whitfield Kowalski Hughes Tanner Orchard Mill",
        "item": "Coffee Bread Milk Notebook Screwdriver Oil-filter Butter Apples Candle "
        "Toothpaste Lamp",
        "month": "January March May July September November Jan Mar",
    },
    "judge": {
        "first": "Maria Edward Yusuf Olivia Henry Nadia Søren Amélie George Wilma",
        "last": "Fletcher Ivanova Yardley Vasquez Thwaite Atwood Lindqvist Jarvis Novak "
        "Fairweather",
        "item": "Map Yoghurt Wine Vinegar Tea-towel Ticket Rye-loaf Tomatoes Ferry Letter Print",
        "month": "February April June August October December Feb Apr",
    },
}
_COPYABLE = re.compile(r"[A-Za-zÀ-ÿ0-9 .,;:!?'()/&%@#+=*\"-]+")


class Word(NamedTuple):
    """`box`: x0, y0, x1, y1 in pixels of the page."""

    text: str
    box: tuple[float, float, float, float]


class Page(NamedTuple):
    """`pixels`: uint8 BGR (H, W, 3). `words`: in reading order."""

    pixels: npt.NDArray[np.uint8]
    words: list[Word]
    kind: str
    face: str


def faces(half: Half) -> list[Path]:
    """The installed fonts of a half, sorted."""
    return sorted({path for pattern in FACES[half] for path in FONTS.glob(pattern)})


@cache
def prose(half: Half) -> list[str]:
    """Words of running text, from Python's manual or from free licences."""
    if half == "choose":
        texts = [topics[name] for name in sorted(topics)]
    else:
        texts = [
            (LICENCES / name).read_text()
            for name in ("GPL-3", "MPL-2.0", "Artistic")
            if (LICENCES / name).exists()
        ]
    return [w for text in texts for w in text.split() if _COPYABLE.fullmatch(w) and len(w) < 16]


def _filled(form: str, half: Half, chance: random.Random) -> str:
    """`form` with a random value in each pair of braces."""

    def value(match: re.Match[str]) -> str:
        kind = match[1]
        if kind in _WORDS[half]:
            return chance.choice(_WORDS[half][kind].split())
        if kind[0] in "dn" and kind[1:].isdigit():
            return "".join(chance.choices("0123456789", k=int(kind[1:])))
        day, year = str(chance.randint(1, 31)), str(chance.randint(1890, 2030))
        small, large = chance.randint(0, 20), chance.randint(20, 4000)
        return {
            "day": day,
            "year": year,
            "price": f"{chance.choice([small, large]):,}.{chance.randint(0, 99):02}",
            "cur": chance.choice(["$", "£", "€", "EUR", "GBP", "RM", "CHF"]),
            "upper": chance.choice("ABDEFGHKLMNPRSTVWY"),
            "lower": chance.choice(_WORDS[half]["last"].split()).lower(),
        }[kind]

    text = re.sub(r"\{(\w+)\}", value, form)
    return text.upper() if chance.random() < 0.2 else text


def lines_of(kind: str, half: Half, chance: random.Random, width: int) -> Iterator[str]:
    """Endless lines of at most about `width` characters."""
    words = prose(half)
    while True:
        if kind == "forms":
            yield _filled(chance.choice(_FORMS[half]), half, chance)
            continue
        run = chance.choice(_FOREIGN[half]).split() if chance.random() < 0.25 else words
        at, line = chance.randrange(len(run)), ""
        while at < len(run) and len(line) + len(run[at]) < width:
            line, at = f"{line} {run[at]}", at + 1
        yield line.strip() or run[0]


def page(number: int, half: Half) -> Page:
    """Page `number` of a half: the same pixels with the same fonts and the same Pillow."""
    chance = random.Random(f"{half} {number}")
    path = chance.choice(faces(half))
    pen = Pen.chosen(path, chance)
    kind = ("prose", "forms")[number % 2]
    picture = Image.new("L", (WIDTH, HEIGHT), pen.ground)
    draw = ImageDraw.Draw(picture)
    words: list[Word] = []
    y = float(MARGIN)
    texts = lines_of(kind, half, chance, int(780 / (0.55 * pen.size + pen.tracking)))
    while y < HEIGHT - 3 * pen.size:
        justified = kind == "prose" and chance.random() < 0.5
        blank = pen.blank * (chance.uniform(1, 1.3) if justified else 1)
        line = pen.line(draw, next(texts), y, blank, chance)
        right = WIDTH - 20
        words += [word for word in line if word.box[2] < right]
        cut = [word.box[0] for word in line if word.box[2] >= right]
        if cut:
            wiped = (min(*cut, WIDTH) - 0.1 * pen.size, y - 2, WIDTH, y + 1.5 * pen.size)
            draw.rectangle(wiped, fill=pen.ground)
        y += pen.size * chance.choice([1.5, 1.7, 2.4])
    return Page(_scanned(np.asarray(picture), chance), words, kind, path.stem)


@dataclass(frozen=True)
class Pen:
    """How a page is set. Lengths in pixels; `shade`, `ground`: gray levels."""

    face: ImageFont.FreeTypeFont
    size: int
    blank: float
    tracking: float
    shade: int
    ground: int

    @classmethod
    def chosen(cls, path: Path, chance: random.Random) -> Pen:
        size = chance.choice([15, 18, 21, 24, 28, 33, 40])
        face = ImageFont.truetype(path, size)
        even = "Mono" in path.name or "Typewriter" in path.name
        stretch = 1 if even else chance.choice([0.7, 0.85, 1, 1, 1, 1.3])
        tracking = chance.choice([0, 0, 0, 0, -0.02, 0.04, 0.1]) * size
        shade, ground = chance.choice([0, 20, 60, 110]), chance.choice([255, 240, 215])
        return cls(face, size, face.getlength(" ") * stretch, tracking, shade, ground)

    def line(
        self, draw: ImageDraw.ImageDraw, text: str, y: float, blank: float, chance: random.Random
    ) -> list[Word]:
        """Draw the words of a line; three blanks become the gap of two table cells."""
        x, line = float(MARGIN), []
        for cell in text.split("   "):
            for word in cell.split(" "):
                end = self._word(draw, word, x, y)
                line.append(Word(word, (x, y, end, y + 1.2 * self.size)))
                x = end + self.tracking + blank
            x += chance.choice([1, 3, 8]) * self.blank
        return line

    def _word(self, draw: ImageDraw.ImageDraw, text: str, x: float, y: float) -> float:
        """Draw a word and return where it ends."""
        if not self.tracking:
            draw.text((x, y), text, self.shade, self.face)
            return x + self.face.getlength(text)
        for letter in text:
            draw.text((x, y), letter, self.shade, self.face)
            x += self.face.getlength(letter) + self.tracking
        return x - self.tracking


def _scanned(gray: npt.NDArray[np.uint8], chance: random.Random) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(chance.randrange(2**32))
    seen = cv2.GaussianBlur(gray, (0, 0), chance.choice([0.3, 0.5, 0.8, 1.1, 1.4]))
    dirty = seen + noise.normal(0, chance.choice([1, 4, 9]), gray.shape)
    dirty = np.repeat(dirty.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    _, data = cv2.imencode(".jpg", dirty, [cv2.IMWRITE_JPEG_QUALITY, chance.choice([35, 60, 85])])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def truth_in(words: Sequence[Word], quad: npt.NDArray[np.float32]) -> str:
    """The words whose centres are inside a line's quad (4, 2)."""
    inside = [
        word
        for word in words
        if cv2.pointPolygonTest(
            quad, ((word.box[0] + word.box[2]) / 2, (word.box[1] + word.box[3]) / 2), False
        )
        >= 0
    ]
    return " ".join(word.text for word in sorted(inside, key=lambda word: word.box[0]))
