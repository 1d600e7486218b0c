"""Pages of a PDF with native text and something else: pictures, scans, outlines, drawings."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from hand_written_pdf import PdfPage, shown, stream, written_pdf
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]
Colour = int | tuple[int, int, int]

LINES = [f"Line {n} of a letter about the harvest of this year" for n in range(20)]
OUTSIDE = [
    "The lantern on the northern pier was repaired",
    "Boats may land at low tide until the evening",
    "Keys are kept with the warden of the harbour",
]


def pictured(picture: Image.Image | Pixels, width: float, native: Sequence[str] = LINES) -> bytes:
    """A4: lines of native text, and below them a picture (a JPEG) `width` points wide."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    height = width * picture.height / picture.width
    content = shown(native, y=800) + f" q {width} 0 0 {height} 60 {400 - height} cm /Im1 Do Q"
    page = PdfPage(content, resources="/XObject << /Im1 100 0 R >>")
    return written_pdf([page], [image_object(picture)])


def scanned(scan: Image.Image, native: str) -> bytes:
    """A4: a scan that fills the page, and operators that write something on it."""
    page = PdfPage(
        f"q 595 0 0 842 0 0 cm /Im1 Do Q {native}", resources="/XObject << /Im1 100 0 R >>"
    )
    return written_pdf([page], [image_object(scan)])


def drawn_on(operators: str) -> bytes:
    """A4: lines of native text, and drawing operators."""
    return written_pdf([PdfPage(shown(LINES, y=800) + operators)])


def image_object(picture: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    space = "/DeviceGray" if picture.mode == "L" else "/DeviceRGB"
    return stream(
        file.getvalue(),
        f"/Type /XObject /Subtype /Image /Width {picture.width} /Height {picture.height}"
        f" /BitsPerComponent 8 /ColorSpace {space} /Filter /DCTDecode",
    )


def written(
    lines: Sequence[str],
    ink: Colour,
    paper: Colour | Pixels,
    *,
    pixels: int = 30,
    size: tuple[int, int] = (1000, 220),
) -> Image.Image:
    """Lines of text on a colour or on a photo, RGB."""
    if isinstance(paper, np.ndarray):
        picture = Image.fromarray(paper).convert("RGB").resize(size)
    else:
        picture = Image.new("RGB", size, (paper,) * 3 if isinstance(paper, int) else paper)
    pen = ImageDraw.Draw(picture)
    for row, line in enumerate(lines):
        place = (30, 20 + row * int(1.6 * pixels))
        pen.text(
            place,
            line,
            font=ImageFont.load_default(pixels),
            fill=(ink,) * 3 if isinstance(ink, int) else ink,
        )
    return picture


def slanted(text: str) -> str:
    """Operators: a stamp of 40 pt over the whole page, at 50 degrees."""
    c, s = math.cos(math.radians(50)), math.sin(math.radians(50))
    return f" 0.8 0.5 0.5 rg BT /F1 40 Tf {c} {s} {-s} {c} 120 180 Tm ({text}) Tj ET"


def outlined(text: str, size: float, x: float, y: float) -> str:
    """Operators: the outlines of letters, filled, as design programs export text."""
    parts: list[str] = []
    last = np.zeros(2)
    for points, code in TextPath((x, y), text, size=size).iter_segments(curves=True):
        end = np.asarray(points[-2:])
        if code == Outline.MOVETO:
            parts.append(f"{end[0]:.2f} {end[1]:.2f} m")
        elif code == Outline.LINETO:
            parts.append(f"{end[0]:.2f} {end[1]:.2f} l")
        elif code == Outline.CURVE3:
            middle = np.asarray(points[:2])
            one, two = last + (middle - last) / 1.5, end + (middle - end) / 1.5
            numbers = " ".join(f"{value:.2f}" for value in (*one, *two, *end))
            parts.append(f"{numbers} c")
        elif code == Outline.CLOSEPOLY:
            parts.append("h")
        last = end
    return f" 0 g {' '.join(parts)} f"
