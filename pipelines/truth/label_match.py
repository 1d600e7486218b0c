"""Which labels of one image find which of its objects.

The rules are those of pycocotools at one IoU: labels in turn, best score first; each takes the free
object of its class that it overlaps most, if that is enough; one that finds only a crowd region
counts neither as right nor as wrong. Streams that hold one image at a time use this; where a whole
data set is at hand, `pipelines.truth.detections_judged` asks pycocotools itself (the tests compare
both).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco

from actors.images.rle import RleValue, mask_ious
from pipelines.decisions.triage import Label, Reason
from pipelines.measures.intervals import Floats
from pipelines.truth.coco import MATCH_IOU, known_score


@dataclass(frozen=True)
class Thing:
    """A label or an object. `box`: x0, y0, x1, y1 in pixels; `score` of objects is 1."""

    name: str
    box: tuple[float, float, float, float]
    score: float = 1.0
    crowd: bool = False


@dataclass(frozen=True)
class Matched:
    """Places of labels and objects.

    Attributes:
        right: (label, object) of one class.
        mistaken: (label, object) of two classes: of what is left, what overlaps enough.
        wrong: labels on nothing.
        missed: objects that no label found.
        ignored: labels on crowd regions.
    """

    right: tuple[tuple[int, int], ...]
    mistaken: tuple[tuple[int, int], ...]
    wrong: tuple[int, ...]
    missed: tuple[int, ...]
    ignored: tuple[int, ...]

    @property
    def errors(self) -> int:
        """Labels that are not right, and objects that were not found; a mistaken one is both."""
        return len(self.wrong) + len(self.missed) + 2 * len(self.mistaken)


def kept_labels(instances: Iterable[Label] | None) -> list[Thing]:
    """The labels of a row's `instances`, without candidates below their thresholds."""
    return [
        thing_of(one) for one in instances or () if Reason.BELOW_THRESHOLD not in one["reasons"]
    ]


def thing_of(label: Label) -> Thing:
    """A label as it is matched."""
    x0, y0, x1, y1 = label["box"]
    return Thing(label["class"], (x0, y0, x1, y1), known_score(label["score"]))


def matched(labels: Sequence[Thing], objects: Sequence[Thing]) -> Matched:
    """Match the labels of an image with its objects, see the head of this module."""
    ious = overlaps(labels, objects)
    free = {place for place, one in enumerate(objects) if not one.crowd}
    right: list[tuple[int, int]] = []
    ignored: list[int] = []
    left: list[int] = []
    for place in sorted(range(len(labels)), key=lambda at: -labels[at].score):
        same = [at for at, one in enumerate(objects) if one.name == labels[place].name]
        near = [at for at in same if ious[place, at] >= MATCH_IOU]
        mine = [at for at in near if at in free]
        if mine:
            best = max(mine, key=lambda at: (ious[place, at], at))  # of equals the last, as there
            free.remove(best)
            right.append((place, best))
        else:
            (ignored if any(objects[at].crowd for at in near) else left).append(place)
    mistaken = _mistaken(ious, left, free)
    spent = {place for place, _ in mistaken}
    return Matched(
        right=tuple(right),
        mistaken=tuple(mistaken),
        wrong=tuple(place for place in left if place not in spent),
        missed=tuple(sorted(free - {at for _, at in mistaken})),
        ignored=tuple(ignored),
    )


def _mistaken(ious: Floats, left: Sequence[int], free: set[int]) -> list[tuple[int, int]]:
    """Pairs of what is left, the largest overlap first."""
    pairs = [(ious[a, b], a, b) for a in left for b in free if ious[a, b] >= MATCH_IOU]
    found, labels, objects = [], set[int](), set[int]()
    for _, a, b in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if a not in labels and b not in objects:
            found.append((a, b))
            labels.add(a)
            objects.add(b)
    return found


def overlaps(labels: Sequence[Thing], objects: Sequence[Thing]) -> Floats:
    """(labels, objects) IoU of boxes; of a crowd region the share of the label inside it."""
    if not labels or not objects:
        return np.zeros((len(labels), len(objects)))
    found: Floats = coco.iou(_boxes(labels), _boxes(objects), [int(one.crowd) for one in objects])
    return np.asarray(found)


def _boxes(things: Sequence[Thing]) -> list[list[float]]:
    """COCO's x, y, width, height."""
    return [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in (one.box for one in things)]


def mask_overlap(one: RleValue | None, other: RleValue | None) -> float | None:
    """IoU of two RLEs, 0..1; None where one is missing or they are of images of two sizes."""
    if not one or not other or one["size"] != other["size"]:
        return None
    return float(mask_ious([one], [other])[0, 0])
