"""Backgrounds of the scenes: gradients, stripes, blobs, lines and printed words."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .words import COLOURS, SHAPES, STRANGERS

Pixels = NDArray[np.float32]

PRINTED = (*SHAPES, *COLOURS, *STRANGERS, "SALE", "No 7", "EXIT", "open", "2026", "A4", "left")


def _pale(rng: np.random.Generator) -> Pixels:
    """A colour (3,) 0..255 with a saturation of at most 0.35; the shapes have 0.75 and more."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.35), rng.uniform(0.15, 1.0))
    return np.asarray(np.multiply(rgb, 255, dtype=np.float32))


def _ramp(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A linear ramp (height, width) in a random direction, pixels."""
    turn = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.asarray(x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn)))


def _gradient(rng: np.random.Generator, width: int, height: int) -> Pixels:
    field = _ramp(rng, width, height)
    return np.asarray((field - field.min()) / np.float32(np.ptp(field)), dtype=np.float32)


def _stripes(rng: np.random.Generator, width: int, height: int) -> Pixels:
    period = rng.uniform(0.05, 0.3) * min(width, height)
    wave = np.sin(_ramp(rng, width, height) * np.float32(2 * np.pi / period))
    sharpness = np.float32(rng.uniform(0.7, 4))
    return np.asarray(np.clip(wave * sharpness + np.float32(0.5), 0, 1), dtype=np.float32)


def _blobs(rng: np.random.Generator, width: int, height: int) -> Pixels:
    cells = int(rng.integers(3, 14))
    coarse = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    fine = coarse.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(fine, dtype=np.float32) / np.float32(255)


def _checks(rng: np.random.Generator, width: int, height: int) -> Pixels:
    cell = rng.uniform(0.06, 0.25) * min(width, height)
    y, x = np.mgrid[0:height, 0:width]
    return np.asarray((x // cell + y // cell) % 2).astype(np.float32)


_PATTERNS = (_gradient, _stripes, _blobs, _checks)


def _draw_lines(rng: np.random.Generator, canvas: Image.Image) -> Image.Image:
    """Thin lines and outlines in any colour, drawn at twice the size for smooth edges."""
    width, height = canvas.width * 2, canvas.height * 2
    overlay = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(overlay)
    for _ in range(int(rng.integers(1, 7))):
        rgb = colorsys.hsv_to_rgb(rng.random(), rng.random(), rng.uniform(0.1, 1.0))
        ink = (*(int(c * 255) for c in rgb), 255)
        thick = max(1, round(rng.uniform(0.006, 0.018) * min(width, height)))
        x0, x1 = sorted(rng.uniform(0, width, 2).tolist())
        y0, y1 = rng.uniform(0, height, 2).tolist()
        if rng.random() < 0.7:
            draw.line((x0, y0, x1, y1), fill=ink, width=thick)
        else:
            draw.arc(
                (x0, min(y0, y1), x1 + 8, max(y0, y1) + 8), 0, rng.uniform(90, 300), ink, thick
            )
    canvas.paste(overlay.reduce(2), (0, 0), overlay.getchannel("A").reduce(2))
    return canvas


def _print_words(rng: np.random.Generator, canvas: Image.Image) -> Image.Image:
    """One or two printed words in a dark or light ink."""
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 3))):
        size = max(7, int(rng.uniform(0.07, 0.14) * min(canvas.size)))
        shade = int(rng.integers(0, 70)) if rng.random() < 0.6 else int(rng.integers(190, 256))
        place = (rng.uniform(0, canvas.width * 0.8), rng.uniform(0, canvas.height * 0.9))
        word = PRINTED[int(rng.integers(len(PRINTED)))]
        # Pillow's built-in font, so that scenes do not depend on the machine's fonts.
        draw.text(place, word, fill=(shade, shade, shade), font=ImageFont.load_default(size))
    return canvas


def background(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A cluttered background, float32 (height, width, 3), 0..255."""
    first, second = _pale(rng), _pale(rng)
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))](rng, width, height)[..., None]
    pixels = first * (1 - pattern) + second * pattern
    canvas = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if rng.random() < 0.7:
        canvas = _draw_lines(rng, canvas)
    if rng.random() < 0.35:
        canvas = _print_words(rng, canvas)
    return np.asarray(canvas, dtype=np.float32)
