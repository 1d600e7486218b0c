"""A page that is set line by line and knows its lines, in the order in which they are set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

FONTS = Path("/usr/share/fonts")
CJK = "opentype/noto/NotoSansCJK-Regular.ttc"
#: A detected box is wider than its ink by this share of the letter size, on each side, and its
#: corners are off by this share (standard deviation).
_GROWN, _JITTER = 0.18, 0.03
#: Offset of a box's ends from its line, in ems (standard deviation).
_LEANING = 0.1


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / name), size)


@dataclass(frozen=True)
class SetLine:
    """A line on a page.

    Attributes:
        row: lines with the same row are cells of one row of text.
        words: (x, word) of the baseline `y`, pixels.
        font, size: file below FONTS and pixels of an em.
        vertical: whether the line runs down from (x, y).
    """

    row: int
    words: tuple[tuple[float, str], ...]
    y: float
    font: str
    size: int
    vertical: bool = False

    @property
    def text(self) -> str:
        """Its words."""
        return " ".join(word for _, word in self.words)

    def ink(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of its letters."""
        x, text = self.words[0]
        if self.vertical:
            return x, self.y, x + self.size, self.y + self.size * len(text)
        font = _font(self.font, self.size)
        _, top, _, bottom = font.getbbox(self.text, anchor="ls")
        end, last = self.words[-1]
        return x, self.y + top, end + font.getlength(last), self.y + bottom


@dataclass
class Sheet:
    """A white page, `width` x `height` pixels, with lines in reading order."""

    width: int
    height: int
    font: str
    size: int
    lines: list[SetLine] = field(default_factory=list)
    pictures: list[tuple[float, float, float, float]] = field(default_factory=list)
    rows: int = 0

    def length(self, text: str, size: int | None = None) -> float:
        """Width of a text in pixels."""
        return _font(self.font, size or self.size).getlength(text)

    def row(self, y: float, cells: Sequence[tuple[float, str]], size: int | None = None) -> None:
        """Set a row of cells (x, text) on the baseline y."""
        for x, text in cells:
            self.lines.append(SetLine(self.rows, ((x, text),), y, self.font, size or self.size))
        self.rows += 1

    def line(self, x: float, y: float, text: str, size: int | None = None) -> None:
        """Set a row of one cell."""
        self.row(y, [(x, text)], size)

    def column(self, x: float, y: float, texts: Sequence[str]) -> None:
        """Set vertical lines from (x, y) to the left, two ems apart."""
        for place, text in enumerate(texts):
            at = x - 2 * place * self.size
            self.lines.append(SetLine(self.rows, ((at, text),), y, self.font, self.size, True))
            self.rows += 1

    def prose(
        self,
        box: tuple[float, float, float, float],
        text: str,
        step: float,
        justified: bool = False,
        size: int | None = None,
        last: bool = True,
    ) -> float:
        """Set a paragraph into a box x0, y0, x1, y1; y0 and the answer are baselines.

        Text beyond y1 is left out. `last`: whether it may end with a short line.
        """
        x0, y, x1, bottom = box
        size = size or self.size
        for place, (words, full) in enumerate(self._broken(text, x1 - x0, size)):
            if y > bottom or (not full and not last and place):
                break
            stretch = justified and full and len(words) > 1
            free = x1 - x0 - sum(self.length(word, size) for word in words)
            blank = free / (len(words) - 1) if stretch else self.length(" ", size)
            spots, x = [], x0
            for word in words:
                spots.append((x, word))
                x += self.length(word, size) + blank
            self.lines.append(SetLine(self.rows, tuple(spots), y, self.font, size))
            self.rows += 1
            y += step
        return y

    def _broken(self, text: str, width: float, size: int) -> list[tuple[list[str], bool]]:
        """Words of each line, and whether the line is full. Japanese breaks anywhere."""
        if " " not in text:
            fit = max(1, int(width // size))
            parts = [text[at : at + fit] for at in range(0, len(text), fit)]
            return [([part], len(part) == fit) for part in parts]
        lines: list[list[str]] = [[]]
        used = 0.0
        for word in text.split():
            length = self.length(word + " ", size)
            if lines[-1] and used + length > width:
                lines.append([])
                used = 0.0
            lines[-1].append(word)
            used += length
        return [(words, True) for words in lines[:-1]] + [(lines[-1], False)]

    def text(self) -> str:
        """The true text: rows by newlines, cells by tabs."""
        rows: dict[int, list[str]] = {}
        for line in self.lines:
            rows.setdefault(line.row, []).append(line.text)
        return "\n".join("\t".join(cells) for cells in rows.values())

    def quads(self, degrees: float = 0.0, seed: int = 0) -> npt.NDArray[np.float32]:
        """Boxes as a detector gives them, (N, 4, 2), whole pixels, of the page turned clockwise.

        Each leans by chance: its ends are off by 0.1 em (standard deviation).
        """
        x0, y0, x1, y1 = np.array([line.ink() for line in self.lines], np.float32).T
        size = np.array([line.size for line in self.lines], np.float32)
        chance = np.random.default_rng(seed)
        noise = chance.normal(0, _JITTER, (4, len(size))) * size
        x0, y0 = x0 - _GROWN * size + noise[0], y0 - _GROWN * size + noise[1]
        x1, y1 = x1 + _GROWN * size + noise[2], y1 + _GROWN * size + noise[3]
        quads = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
        matrix = self._turn(degrees)
        angles = chance.normal(0, 2 * _LEANING * size / np.maximum(x1 - x0, y1 - y0))
        centres = quads.mean(axis=1, keepdims=True)
        (x, y), cos, sin = (quads - centres).T, np.cos(angles), np.sin(angles)
        quads = centres + np.stack([x * cos - y * sin, x * sin + y * cos]).T
        return np.round(quads @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)

    def image(self, degrees: float = 0.0) -> npt.NDArray[np.uint8]:
        """The page (H, W) in gray, turned clockwise about its middle; it grows to keep all."""
        page = Image.new("L", (self.width, self.height), 250)
        draw = ImageDraw.Draw(page)
        for picture in self.pictures:
            draw.rectangle(picture, fill=170)
        for line in self.lines:
            font = _font(line.font, line.size)
            for x, word in line.words:
                if line.vertical:
                    for place, sign in enumerate(word):
                        spot = (x + line.size / 2, line.y + line.size * (place + 0.5))
                        draw.text(spot, sign, fill=20, font=font, anchor="mm")
                else:
                    draw.text((x, line.y), word, fill=20, font=font, anchor="ls")
        size = tuple(int(side) for side in self._size(degrees))
        turned = cv2.warpAffine(
            np.asarray(page), self._turn(degrees), size, flags=cv2.INTER_CUBIC, borderValue=250.0
        )
        return np.asarray(turned, np.uint8)

    def _size(self, degrees: float) -> npt.NDArray[np.float64]:
        cos, sin = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
        w, h = self.width, self.height
        return np.round([w * cos + h * sin, w * sin + h * cos])

    def _turn(self, degrees: float) -> npt.NDArray[np.float64]:
        centre = ((self.width - 1) / 2, (self.height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, -degrees, 1.0)
        matrix[:, 2] += (self._size(degrees) - 1) / 2 - centre
        return np.asarray(matrix, np.float64)
