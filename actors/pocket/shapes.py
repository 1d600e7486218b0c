"""Outlines of the ten shapes, and their anti-aliased rendering."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]

#: Samples per pixel and axis, which are averaged.
SUPERSAMPLING = 4


def _arc(start: float, stop: float, radius: float = 1.0, steps: int = 40) -> Points:
    """Points (steps, 2) on a circle about the origin; angles in degrees."""
    angles = np.radians(np.linspace(start, stop, steps))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star() -> list[Points]:
    angles = np.radians(np.arange(10) * 36 - 90)
    radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return [np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)]


def _heart() -> list[Points]:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [np.stack([x, y - 2.5], axis=1) / 16]


def _crescent() -> list[Points]:
    # Two arcs through the tips at +-60 degrees: a unit circle and a shifted unit circle.
    outer = _arc(60, 300)
    inner = _arc(240, 120) + np.array([1.0, 0.0])
    return [np.concatenate([outer, inner]) + np.array([0.25, 0.0])]


def _house() -> list[Points]:
    walls = [(-0.7, 0.9), (-0.7, 0.0), (-1.0, 0.0), (0.0, -0.95), (1.0, 0.0), (0.7, 0.0)]
    outline = np.array([*walls, (0.7, 0.9)])
    door = np.array([(-0.2, 0.9), (-0.2, 0.3), (0.2, 0.3), (0.2, 0.9)])
    return [outline, door]


def _polygon(*points: tuple[float, float]) -> list[Points]:
    return [np.array(points)]


_W = 0.3  # half the width of a bar of the cross
#: Name -> outline, followed by its holes, in a unit frame (x right, y down, about -1..1).
OUTLINES: dict[str, list[Points]] = {
    "star": _star(),
    "circle": [_arc(0, 360)],
    "square": _polygon((-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)),
    "triangle": _polygon((0.0, -0.95), (0.98, 0.75), (-0.98, 0.75)),
    "cross": _polygon(
        *((-_W, -1.0), (_W, -1.0), (_W, -_W), (1.0, -_W), (1.0, _W), (_W, _W)),
        *((_W, 1.0), (-_W, 1.0), (-_W, _W), (-1.0, _W), (-1.0, -_W), (-_W, -_W)),
    ),
    "heart": _heart(),
    "arrow": _polygon(
        *((-1.0, -0.25), (0.1, -0.25), (0.1, -0.75), (1.0, 0.0)),
        *((0.1, 0.75), (0.1, 0.25), (-1.0, 0.25)),
    ),
    "crescent": _crescent(),
    "ring": [_arc(0, 360), _arc(0, 360, 0.52)],
    "house": _house(),
}
#: Shapes that may point in any direction; the others are tilted by at most 25 degrees.
TURNABLE = frozenset({"arrow", "crescent"})


def coverage(shape: str, radius: float, angle: float, offset: tuple[float, float]) -> Points:
    """The share of each pixel that the shape covers.

    Args:
        shape: a key of `OUTLINES`.
        radius: half the shape's size, pixels.
        angle: clockwise turn, degrees.
        offset: position of the centre within its pixel, 0..1 each.

    Returns:
        float64 (side, side), 0..1; the centre is at the middle pixel plus `offset`.
    """
    half = int(np.ceil(radius * 1.45)) + 1
    side = 2 * half + 1
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    canvas = Image.new("L", (side * SUPERSAMPLING, side * SUPERSAMPLING), 0)
    draw = ImageDraw.Draw(canvas)
    for number, outline in enumerate(OUTLINES[shape]):
        points = outline @ rotation * radius + half + np.array(offset)
        flat = (points * SUPERSAMPLING).ravel().tolist()
        draw.polygon(flat, fill=0 if number else 255)
    return np.asarray(canvas.reduce(SUPERSAMPLING), dtype=np.float64) / 255
