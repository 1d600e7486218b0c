"""One scene of the pocket world, stored in many unusual image formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from actors.pocket.scenes import Scene, scene
from actors.pocket.words import Kind

ORIENTATION, TURN_RIGHT_TO_SEE = 0x0112, 6


def plain_scene() -> Scene:
    """320 x 256 px: three objects of the quickstart's classes, clear of each other and of edges."""
    kinds = (Kind("red", "star"), Kind("green", "house"), Kind("red", "ring"))
    return next(
        found
        for number in range(1000)
        if len((found := scene(48, number, 320, 256, kinds)).things) == 3
        and len({thing.kind for thing in found.things}) == 3
    )


def as_png(folder: Path, picture: Image.Image) -> None:
    picture.save(folder / "plain.png")


def as_cmyk(folder: Path, picture: Image.Image) -> None:
    picture.convert("CMYK").save(folder / "cmyk.jpg", quality=98)


def with_alpha(folder: Path, picture: Image.Image) -> None:
    picture.putalpha(255)
    picture.save(folder / "alpha.png")


def with_palette(folder: Path, picture: Image.Image) -> None:
    picture.quantize(256).save(folder / "palette.png")


def with_16_bits(folder: Path, picture: Image.Image) -> None:
    deep = np.asarray(picture, dtype=np.uint16)[:, :, ::-1] * 257  # OpenCV's order is BGR
    cv2.imwrite(str(folder / "deep.png"), deep)


def lying_on_its_side(folder: Path, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_RIGHT_TO_SEE
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "lying.jpg", quality=98, exif=exif)


#: The same picture for whoever decodes it rightly: the same objects in the same places.
SAME: dict[str, Callable[[Path, Image.Image], None]] = {
    "plain.png": as_png,
    "cmyk.jpg": as_cmyk,
    "alpha.png": with_alpha,
    "palette.png": with_palette,
    "deep.png": with_16_bits,
    "lying.jpg": lying_on_its_side,
}


def same_pictures(folder: Path, pixels: np.ndarray) -> None:
    """Write `pixels` (uint8, height x width x 3, RGB) in every way of `SAME`."""
    for write in SAME.values():
        write(folder, Image.fromarray(pixels))


def without_colour(folder: Path, pixels: np.ndarray) -> None:
    """gray.png, mode L; gray16.png, mode I;16."""
    gray = Image.fromarray(pixels).convert("L")
    gray.save(folder / "gray.png")
    Image.fromarray(np.asarray(gray, dtype=np.uint16) * 257).save(folder / "gray16.png")


def extremes(folder: Path) -> None:
    """1 x 1 px, and strips of 1 x 3,000, 3,000 x 2 and 4,000 x 40."""
    for width, height in ((1, 1), (1, 3000), (3000, 2), (4000, 40)):
        shape = (height, width, 3)
        noise = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{width}x{height}.png")
