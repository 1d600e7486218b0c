"""Images of the labelling benchmark, and scores of the boxes found on them."""

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

#: No training or evaluation uses this seed. Its first four scenes hold three objects of the first
#: class, so that a quick run with one class has boxes to compare.
FRESH_SEED = 1131
#: Width and height of the scenes, used in turn.
FRAMES = ((320, 320), (320, 240), (240, 320), (400, 300))
#: Twenty colour and shape pairs that cover every shape and colour (7 and 60 have no common
#: divisor). They take 62 of the 256 tokens of a prompt.
KINDS = tuple(ALL_KINDS[7 * number % len(ALL_KINDS)] for number in range(20))
NAMES = tuple(kind.phrase for kind in KINDS)

#: Limits for equal boxes and equal masks.
SAME_IOU, SAME_SCORE = 0.99, 1e-3
NMS_IOU = 0.7


@dataclass(frozen=True)
class Sample:
    """An encoded image and its objects; None if the truth is unknown."""

    data: bytes
    things: tuple[Thing, ...] | None


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image: n names, scores (n,), corners (n, 4) xyxy in pixels."""

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
        name: its name in the table.
        prepare: takes the images; returns the function that is timed, which does the work once.
        judge: takes the answer of a run and the images; returns figures by column.
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
    """The decoded image, RGB."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def by_our_rule(
    logits: Tensor, centres: Tensor, input_ids: Tensor, size: tuple[int, int], floor: float
) -> Boxes:
    """Boxes of one image by Nightjar's rule, computed with the library's own functions.

    Args:
        logits: (n_queries, max_text_len).
        centres: (n_queries, 4), centre x, centre y, width, height, 0..1.
        input_ids: (n_tokens,), a prompt of the first names in `NAMES`.
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
    """Equal boxes as a share of the boxes that either side has; None without boxes."""
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
    """F1 at IoU 0.5 over the objects in `names`, best score first; None without truth."""
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
    """Number of pairs when every row takes its first free column."""
    taken: set[int] = set()
    for row in same:
        free = (i for i in row.nonzero()[:, 0].tolist() if i not in taken)
        taken |= {next(free, -1)} - {-1}
    return len(taken)
