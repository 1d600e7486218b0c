"""Parts that rendered pages share: headers, headlines, columns, tables."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from parts.pages.page_sheet import CJK, Sheet
from parts.pages.page_texts import Texts

#: Fonts to choose rules with, and fonts of the pages that judge.
TUNING_FONTS = ("truetype/dejavu/DejaVuSans.ttf", "truetype/dejavu/DejaVuSerif.ttf")
JUDGE_FONTS = (
    "truetype/liberation/LiberationSerif-Regular.ttf",
    "truetype/liberation/LiberationSans-Regular.ttf",
    "truetype/noto/NotoSerif-Regular.ttf",
    "truetype/noto/NotoSans-Regular.ttf",
)
#: Seeds from here on belong to pages that judge.
JUDGE_SEED = 10_000


class Setter:
    """What all kinds of pages share: a sheet, texts, and chance."""

    def __init__(self, seed: int, japanese: bool = False) -> None:
        self.chance = Random(seed)
        fonts = JUDGE_FONTS if seed >= JUDGE_SEED else TUNING_FONTS
        font = CJK if japanese else self.chance.choice(fonts)
        size = self.chance.randint(20, 28)
        self.sheet = Sheet(1240, 1754, font, size)
        language = "japanese" if japanese else self.chance.choice(("english", "english", "german"))
        self.texts = Texts(self.chance, language)
        self.step = round(size * self.chance.uniform(1.25, 1.5))
        self.left, self.right = 100, 1140
        self.top, self.bottom = 150, 1620

    def header(self) -> None:
        """A title left, centred or right, or one on each side; or none."""
        size, y = self.sheet.size - 3, self.top - 60
        place = self.chance.choice(("left", "centre", "right", "both", "none"))
        title = self.texts.title(self.chance.randint(2, 4))
        number = str(self.chance.randint(2, 400))
        end = self.right - self.sheet.length(title, size)
        if place == "both":
            last = self.right - self.sheet.length(number, size)
            self.sheet.row(y, [(self.left, title), (last, number)], size)
        elif place != "none":
            x = {"left": self.left, "right": end, "centre": (self.left + end) / 2}[place]
            self.sheet.line(x, y, title, size)

    def footer(self) -> None:
        """A page number left, centred or right, or none."""
        text = str(self.chance.randint(2, 400))
        ends = (self.left, 620, self.right - self.sheet.length(text))
        if self.chance.random() < 0.7:
            self.sheet.line(self.chance.choice(ends), self.bottom + 90, text)

    def headline(self, y: float) -> float:
        """A large title across the page, left or centred; the baseline of what follows."""
        size = round(self.sheet.size * self.chance.uniform(1.4, 2.2))
        text = self.texts.title(self.chance.randint(3, 6))
        while self.sheet.length(text, size) > self.right - self.left:
            text = text.rsplit(" ", 1)[0] if " " in text else text[:-2]
        free = self.right - self.left - self.sheet.length(text, size)
        self.sheet.line(self.left + self.chance.choice((0, free / 2)), y + size, text, size)
        return y + 2 * size + self.step

    def columns(self, count: int, top: float, bottom: float, gutter: float) -> float:
        """Prose in columns; the lowest baseline."""
        width = (self.right - self.left - (count - 1) * gutter) / count
        justified, grid = self.chance.random() < 0.5, self.chance.random() < 0.5
        apart = self.step * self.chance.choice((0, 0, 0.5, 1))
        low = top
        for column in range(count):
            x = self.left + column * (width + gutter)
            y = top + (0 if grid else self.chance.uniform(0, 0.9) * self.step)
            end = (
                bottom
                if column < count - 1
                else bottom - self.chance.uniform(0, 0.4) * (bottom - top)
            )
            while y <= end:
                if self.chance.random() < 0.15:
                    title = self.texts.title(2)
                    if self.sheet.length(title) < width:
                        self.sheet.line(x, y + 0.3 * self.step * (not grid), title)
                        y += self.step
                text = self.texts.paragraph(self.chance.randint(2, 6))
                y = self.sheet.prose((x, y, x + width, end), text, self.step, justified) + apart
            low = max(low, y)
        return low

    def table(self, y: float, rows: int, fields: list[Callable[[], str]], align: str) -> float:
        """Rows of cells in equal columns; `align`: l or r for each. The baseline below."""
        width = (self.right - self.left) / len(fields)
        step = self.step * self.chance.choice((1, 1.2, 1.6))
        for _ in range(rows):
            if y > self.bottom:
                break
            cells = []
            for place, make in enumerate(fields):
                text = self.fitting(make, width - self.sheet.size)
                x = self.left + place * width
                if align[place] == "r":
                    x += width - self.sheet.size - self.sheet.length(text)
                if text:
                    cells.append((x, text))
            if cells:
                self.sheet.row(y, cells)
            y += step
        return y

    def fitting(self, make: Callable[[], str], width: float) -> str:
        """A text of `make` that is narrower than `width` pixels."""
        for _ in range(50):
            text = make()
            if self.sheet.length(text) < width:
                return text
        return "-"

    def full(self, y: float, paragraphs: int) -> float:
        """Paragraphs across the page."""
        for _ in range(paragraphs):
            box = (self.left, y, self.right, self.bottom)
            y = self.sheet.prose(box, self.texts.paragraph(4), self.step) + 0.6 * self.step
        return y
