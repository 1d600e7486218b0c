"""Masks as polygons, drawn again by the rasters of the tools that read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco
from ultralytics.data.utils import polygon2mask

from actors.images.rle import encoded
from pipelines.export.labels.image import LabelledImage
from pipelines.export.labels.mask_outline import outline, outlines
from pipelines.export.labels.yolo import yolo_line

HEIGHT, WIDTH = 240, 320
Mask = npt.NDArray[np.bool_]


def disc(x: float, y: float, radius: float) -> Mask:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    return (xx - x) ** 2 + (yy - y) ** 2 < radius**2


def filled(*boxes: tuple[int, int, int, int]) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def line(thick: int) -> Mask:
    drawn = cv2.line(np.zeros((HEIGHT, WIDTH), np.uint8), (10, 10), (300, 150), 1, thick)
    return drawn.astype(bool)


def blobs() -> Mask:
    noise = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    return smooth > smooth.std()


RING = disc(150, 120, 60) & ~disc(150, 120, 40)
SHAPES: dict[str, Mask] = {
    **{f"disc of radius {radius}": disc(150, 120, radius) for radius in (1, 2, 3, 5, 12, 50, 100)},
    "one pixel": filled((5, 5, 6, 6)),
    "last pixel": filled((WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT)),
    "horizontal line": filled((20, 100, 200, 101)),
    "vertical line": filled((100, 20, 101, 200)),
    "diagonal of single pixels": np.eye(HEIGHT, WIDTH, dtype=bool),
    "thin slope": line(2),
    "small square": filled((60, 50, 63, 53)),
    "cross": filled((0, 100, WIDTH, 104), (100, 0, 104, HEIGHT)),
    "ring": RING,
    "thin ring": disc(150, 120, 60) & ~disc(150, 120, 58),
    "three holes": disc(150, 120, 100)
    & ~(disc(120, 100, 20) | disc(190, 120, 15) | disc(150, 170, 5)),
    "two parts": disc(40, 50, 25) | disc(110, 70, 30),
    "four parts": disc(40, 50, 25) | disc(110, 70, 30) | disc(200, 200, 8) | disc(20, 200, 5),
    "part in a hole": RING | disc(150, 120, 20),
    "corners": disc(0, 0, 50) | disc(319, 239, 40),
    "whole image": np.ones((HEIGHT, WIDTH), bool),
    "thirty spots": blobs(),
}


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def by_pycocotools(polygons: list[Any]) -> Mask:
    rles = coco.frPyObjects([np.ravel(one).tolist() for one in polygons], HEIGHT, WIDTH)
    return np.asarray(coco.decode(coco.merge(rles)), bool)


def by_ultralytics(polygon: npt.NDArray[np.float32]) -> Mask:
    return np.asarray(polygon2mask((HEIGHT, WIDTH), [polygon.ravel()]), bool)


def as_read_by_yolo(mask: Mask) -> npt.NDArray[np.float32]:
    """The polygon of a label line as ultralytics reads it: float32, relative, times the size."""
    found: Any = {"class": "a", "box": [0, 0, 1, 1], "mask": encoded(mask)}
    image = LabelledImage(1, 1, "a", 1, WIDTH, HEIGHT, "accepted", None, [found])
    values = yolo_line(found, image, {"a": 0}, outlines=True).split()[1:]
    return np.array(values, np.float32).reshape(-1, 2) * np.array([WIDTH, HEIGHT], np.float32)


@pytest.mark.parametrize("name", SHAPES)
def test_pycocotools_draws_the_mask_from_its_polygons(name: str) -> None:
    mask = SHAPES[name]
    assert iou(by_pycocotools(outlines(encoded(mask))), mask) == 1
    assert iou(by_pycocotools([as_read_by_yolo(mask)]), mask) == 1


def test_ultralytics_draws_the_masks() -> None:
    found = {
        name: iou(by_ultralytics(as_read_by_yolo(mask)), mask) for name, mask in SHAPES.items()
    }
    assert np.mean([*found.values()]) > 0.99, found
    # the ways between parts are a pixel wide when ultralytics draws them
    apart = {"two parts", "four parts", "part in a hole", "corners", "thirty spots"}
    assert {name for name, value in found.items() if value < 1} <= apart
    assert min(found.values()) > 0.9, found


@pytest.mark.parametrize("draw", [by_pycocotools, by_ultralytics])
def test_outlines_of_random_masks(draw: Callable[[Any], Mask]) -> None:
    """As a segmenter makes them: smooth, of every size, now and then with holes and crumbs."""
    random = np.random.default_rng(7)
    found = []
    for _ in range(60):
        noise = random.normal(size=(HEIGHT, WIDTH)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), float(random.uniform(2, 10)))
        x, y, radius = random.uniform(20, 300), random.uniform(20, 220), random.uniform(4, 80)
        mask = disc(x, y, radius) & (smooth > -1.2 * smooth.std())
        polygon = as_read_by_yolo(mask)
        found.append(iou(draw([polygon] if draw is by_pycocotools else polygon), mask))
    assert np.mean(found) > 0.97


def test_an_empty_mask_has_no_outline() -> None:
    empty = encoded(np.zeros((HEIGHT, WIDTH), bool))
    assert outlines(empty) == []
    assert outline(empty).shape == (0, 2)


def test_noise_keeps_its_largest_parts() -> None:
    speckled = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.2
    noise = encoded(speckled | disc(150, 120, 40))
    assert 0 < len(outlines(noise)) <= 1000
    assert iou(by_pycocotools([outlines(noise)[0]]), disc(150, 120, 40)) > 0.8
