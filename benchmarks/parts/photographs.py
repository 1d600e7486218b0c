"""Photographs of any size, from the pictures that come with scikit-image."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

#: Real photographs in scikit-image's wheel, 451 x 300 to 1,411 x 1,411 pixels.
NAMES = (
    *("retina.jpg", "hubble_deep_field.jpg", "motorcycle_left.png", "rocket.jpg"),
    *("coffee.png", "astronaut.png", "chelsea.png"),
)
QUALITY = 90


def photograph(width: int, height: int, number: int) -> bytes:
    """A JPEG file of quality 90, 4:2:0, `width` x `height` pixels.

    Larger sizes are a mosaic of the photographs at their own resolution, because an enlarged
    photograph has few details and decodes twice as fast as one from a camera.

    Args:
        number: which photograph is first; other numbers give other pictures.
    """
    image = Image.new("RGB", (width, height))
    rng = np.random.default_rng(number)
    top = 0
    while top < height:
        left, lowest = 0, height
        while left < width:
            tile = _photographs()[int(rng.integers(len(NAMES)))]
            image.paste(tile, (left, top))
            left, lowest = left + tile.width, min(lowest, tile.height)
        top += lowest
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


@cache
def _photographs() -> list[Image.Image]:
    """Raises SystemExit without scikit-image."""
    try:
        import skimage
    except ImportError:
        raise SystemExit(
            "the photographs come with scikit-image: pip install scikit-image"
        ) from None
    folder = Path(skimage.__file__).parent / "data"
    return [Image.open(folder / name).convert("RGB") for name in NAMES]
