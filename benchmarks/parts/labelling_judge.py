"""What the labelling benchmark looks at, and how it judges what was found there."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import batched_nms, box_convert, box_iou
from transformers.models.grounding_dino.modeling_grounding_dino import build_label_maps

from actors.pocket.scenes import Thing, scene
from actors.pocket.words import ALL_KINDS

#: No training and no evaluation uses this seed. Three objects of the first class are on its first
#: four scenes, so that a quick run with one class has boxes to compare.
FRESH_SEED = 1131
#: Width and height of the scenes in turn.
FRAMES = ((320, 320), (320, 240), (240, 320), (400, 300))
#: Twenty pairs with every shape and every colour among them (7 and 60 have no common divisor): 62
#: tokens of the 256 that fit one prompt.
KINDS = tuple(ALL_KINDS[7 * number % len(ALL_KINDS)] for number in range(20))
NAMES = tuple(kind.phrase for kind in KINDS)

#: What "the same box" and "the same mask" mean.
SAME_IOU, SAME_SCORE = 0.99, 1e-3
NMS_IOU = 0.7


@dataclass(frozen=True)
class Sample:
    """An encoded image and the objects on it; None where nobody knows them."""

    data: bytes
    things: tuple[Thing, ...] | None


@dataclass(frozen=True)
class Boxes:
    """What was found in one image: n names, scores (n,), corners (n, 4) xyxy in pixels."""

    names: list[str]
    scores: Tensor
    corners: Tensor

    @staticmethod
    def of(names: Sequence[str], scores: Any, corners: Any) -> Boxes:
        """From lists or tensors, on any device."""
        scores = torch.as_tensor(scores, dtype=torch.float32, device="cpu")
        corners = torch.as_tensor(corners, dtype=torch.float32, device="cpu")
        return Boxes(list(names), scores, corners.reshape(len(scores), 4))


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    Attributes:
        name: for the table.
        prepare: takes the images; what it returns does the work once, and is what is timed.
        judge: takes what a run returned; figures for the table, by the name of their column.
        steps: busy seconds by step, summed over all runs; drained after the warm-up.
    """

    name: str
    prepare: Callable[[Sequence[Sample]], Callable[[], Any]]
    judge: Callable[[Any, Sequence[Sample]], dict[str, float | None]]
    steps: dict[str, float] | None = None


def rendered(count: int, seed: int) -> list[Sample]:
    """Scenes of `KINDS` as JPEG of quality 95, with their truth."""
    samples = []
    for number in range(count):
        item = scene(seed, number, *FRAMES[number % len(FRAMES)], KINDS)
        file = io.BytesIO()
        Image.fromarray(item.pixels).save(file, "JPEG", quality=95)
        samples.append(Sample(file.getvalue(), item.things))
    return samples


def from_folder(folder: Path, count: int) -> list[Sample]:
    """The first images of a folder, without truth."""
    kinds = (".jpg", ".jpeg", ".png", ".webp")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in kinds)
    return [Sample(path.read_bytes(), None) for path in paths[:count]]


def opened(data: bytes) -> Image.Image:
    """RGB, decoded."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def by_our_rule(
    logits: Tensor, centres: Tensor, input_ids: Tensor, size: tuple[int, int], floor: float
) -> Boxes:
    """A model's answer for one image as Nightjar reads it, from the library's own functions.

    Args:
        logits: (n_queries, max_text_len).
        centres: (n_queries, 4), centre x, centre y, width, height, 0..1.
        input_ids: (n_tokens,), a prompt of the first so many of `NAMES`.
        size: width, height of the image, pixels.
        floor: lowest score.
    """
    logits, centres = logits.float().cpu(), centres.float().cpu()
    ids: Any = input_ids.cpu()[None]
    spans = build_label_maps(logits[None], ids)[0].float()
    scores = logits.sigmoid() @ (spans / spans.sum(1, keepdim=True)).T
    whole = torch.tensor([*size, *size], dtype=torch.float32)
    corners = (box_convert(centres, "cxcywh", "xyxy") * whole).clamp(torch.zeros(4), whole)
    wanted = (scores >= floor) & (corners[:, 2:] > corners[:, :2]).all(1, keepdim=True)
    query, phrase = wanted.nonzero(as_tuple=True)
    kept = batched_nms(corners[query], scores[query, phrase], phrase, NMS_IOU)
    query, phrase = query[kept], phrase[kept]
    return Boxes.of([NAMES[i] for i in phrase], scores[query, phrase], corners[query])


def parity(ours: Sequence[Boxes], theirs: Sequence[Boxes]) -> float | None:
    """Boxes that both have, as a share of those that either has; None: neither has any."""
    both = either = 0
    for one, other in zip(ours, theirs, strict=True):
        same = box_iou(one.corners, other.corners) >= SAME_IOU
        same &= (one.scores[:, None] - other.scores).abs() <= SAME_SCORE
        same &= _same_names(one.names, other.names)
        matched = _matched(same)
        both += matched
        either += len(one.names) + len(other.names) - matched
    return both / either if either else None


def f1(found: Sequence[Boxes], samples: Sequence[Sample], names: Sequence[str]) -> float | None:
    """At IoU 0.5, best score first, over the objects that were asked for; None: no truth."""
    right = claimed = there = 0
    for boxes, sample in zip(found, samples, strict=True):
        if sample.things is None:
            return None
        things = [thing for thing in sample.things if thing.kind.phrase in names]
        claimed, there = claimed + len(boxes.names), there + len(things)
        truth = torch.tensor([t.box.tolist() for t in things]).reshape(len(things), 4)
        same = box_iou(boxes.corners, truth) >= 0.5
        same &= _same_names(boxes.names, [thing.kind.phrase for thing in things])
        right += _matched(same[boxes.scores.argsort(descending=True, stable=True)])
    return 2 * right / (claimed + there) if claimed + there else None


def _same_names(rows: Sequence[str], columns: Sequence[str]) -> Tensor:
    """bool (n_rows, n_columns)."""
    same = [row == column for row in rows for column in columns]
    return torch.tensor(same, dtype=torch.bool).reshape(len(rows), len(columns))


def _matched(same: Tensor) -> int:
    """Pairs when every row takes the first column that is still free."""
    taken: set[int] = set()
    for row in same:
        free = (i for i in row.nonzero()[:, 0].tolist() if i not in taken)
        taken |= {next(free, -1)} - {-1}
    return len(taken)
