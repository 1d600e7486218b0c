"""Seeded scenes of coloured shapes with exact ground truth: boxes, masks and kinds."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from .clutter import background
from .shapes import TURNABLE, coverage
from .words import ALL_KINDS, COLOURS, SEEN_KINDS, UNSEEN_KINDS, Kind

#: Maximum overlap of two objects, as a share of the smaller one.
MAX_OVERLAP = 0.2
PLACING_ATTEMPTS = 12


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
        kind: its colour and shape.
        mask: bool (height, width), the visible pixels.
        box: float32 (4,), xyxy in pixels around the mask; x1 and y1 are exclusive.
    """

    kind: Kind
    mask: NDArray[np.bool_]
    box: NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A rendered scene: uint8 (height, width, 3) RGB, and its objects from back to front."""

    pixels: NDArray[np.uint8]
    things: tuple[Thing, ...]


def _ink(rng: np.random.Generator, colour: str) -> NDArray[np.float32]:
    hue, spread = COLOURS[colour]
    turn = ((hue + rng.uniform(-spread, spread)) % 360) / 360
    rgb = colorsys.hsv_to_rgb(turn, rng.uniform(0.75, 1.0), rng.uniform(0.7, 1.0))
    return np.asarray(rgb, dtype=np.float32) * 255


def _cover(rng: np.random.Generator, shape: str, width: int, height: int) -> NDArray[np.float32]:
    """The coverage (height, width), 0..1, of the shape at a random place inside the scene."""
    radius = rng.uniform(0.08, 0.22) * min(width, height)
    angle = rng.uniform(-25, 25) + (90 * int(rng.integers(4)) if shape in TURNABLE else 0)
    patch = coverage(shape, radius, angle, (rng.random(), rng.random()))
    rows, columns = np.flatnonzero(patch.any(1)), np.flatnonzero(patch.any(0))
    patch = patch[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top = int(rng.integers(0, max(1, height - patch.shape[0] + 1)))
    left = int(rng.integers(0, max(1, width - patch.shape[1] + 1)))
    whole = np.zeros((height, width), dtype=np.float32)
    room = whole[top : top + patch.shape[0], left : left + patch.shape[1]]
    room[:] = patch[: room.shape[0], : room.shape[1]]
    return whole


def _fits(mask: NDArray[np.bool_], others: Sequence[NDArray[np.bool_]]) -> bool:
    area = int(mask.sum())
    return area > 12 and all(
        (mask & other).sum() <= MAX_OVERLAP * min(area, int(other.sum())) for other in others
    )


def _next_kind(rng: np.random.Generator, kinds: Sequence[Kind], before: Kind | None) -> Kind:
    """A random kind. One in three shares a word with the previous kind, to make scenes harder."""
    if before is not None and rng.random() < 0.35:
        near = [kind for kind in kinds if (kind[0] == before[0]) != (kind[1] == before[1])]
        if near:
            return near[int(rng.integers(len(near)))]
    return kinds[int(rng.integers(len(kinds)))]


def render(
    rng: np.random.Generator,
    width: int,
    height: int,
    kinds: Sequence[Kind] = ALL_KINDS,
    most: int = 4,
) -> Scene:
    """Render a scene of 1 to `most` objects drawn from `kinds`.

    Args:
        rng: the only source of randomness; the same state gives the same scene.
        width, height: pixels, at least 32.
        kinds: kinds to draw from.
        most: maximum number of objects; a full scene has fewer.
    """
    pixels = background(rng, width, height)
    masks: list[NDArray[np.bool_]] = []
    drawn: list[Kind] = []
    for _ in range(int(rng.integers(1, most + 1))):
        kind = _next_kind(rng, kinds, drawn[-1] if drawn else None)
        for _ in range(PLACING_ATTEMPTS):
            cover = _cover(rng, str(kind.shape), width, height)
            mask = cover >= 0.5
            if _fits(mask, masks):
                break
        else:
            continue
        ink = _ink(rng, str(kind.colour))
        pixels += (ink - pixels) * cover[..., None]
        masks = [other & ~mask for other in masks] + [mask]
        drawn.append(kind)
    noise = rng.uniform(0, 10)
    pixels = pixels + rng.normal(0, noise, (height, width, 1)).astype(np.float32)
    things = (Thing(kind, mask, _box_of(mask)) for kind, mask in zip(drawn, masks, strict=True))
    return Scene(np.clip(pixels, 0, 255).astype(np.uint8), tuple(things))


def _box_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return np.asarray(box, dtype=np.float32)


def scene(
    seed: int, number: int, width: int, height: int, kinds: Sequence[Kind] = ALL_KINDS
) -> Scene:
    """Scene `number` of the reproducible series `seed`."""
    return render(np.random.default_rng([seed, number]), width, height, kinds)


def coco_truth(scenes: Iterable[Scene], kinds: Sequence[Kind] = ALL_KINDS) -> dict[str, Any]:
    """COCO instances JSON of the scenes: image ids count from 1, category ids follow `kinds`."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, item in enumerate(scenes, 1):
        height, width = item.pixels.shape[:2]
        name = f"scene_{image_id:04d}.png"
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for thing in item.things:
            rle = coco_mask.encode(np.asfortranarray(thing.mask.astype(np.uint8)))
            x0, y0, x1, y1 = thing.box.tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": kinds.index(thing.kind) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(thing.mask.sum()),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": kind.phrase} for number, kind in enumerate(kinds, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


__all__ = ["SEEN_KINDS", "UNSEEN_KINDS", "Scene", "Thing", "coco_truth", "render", "scene"]
