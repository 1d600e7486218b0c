"""Match the labels of one image with its objects.

The rules are those of pycocotools at one IoU. Labels choose in turn, best score first. Each takes
the free object of its class with the largest IoU, if that is at least `MATCH_IOU`. A label that
finds only a crowd region counts neither as right nor as wrong. This module is for streams of single
images. For whole data sets `pipelines.truth.detections_judged` calls pycocotools; the tests compare
both.
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
    """Indices of labels and objects.

    Attributes:
        right: (label, object) of the same class.
        mistaken: (label, object) of different classes: the pairs that overlap among the rest.
        wrong: labels without an object.
        missed: objects without a label.
        ignored: labels on crowd regions.
    """

    right: tuple[tuple[int, int], ...]
    mistaken: tuple[tuple[int, int], ...]
    wrong: tuple[int, ...]
    missed: tuple[int, ...]
    ignored: tuple[int, ...]

    @property
    def errors(self) -> int:
        """Number of wrong labels and missed objects; a mistaken pair counts as both."""
        return len(self.wrong) + len(self.missed) + 2 * len(self.mistaken)


def kept_labels(instances: Iterable[Label] | None) -> list[Thing]:
    """The labels of a row's `instances`, without candidates below their thresholds."""
    return [
        thing_of(one) for one in instances or () if Reason.BELOW_THRESHOLD not in one["reasons"]
    ]


def thing_of(label: Label) -> Thing:
    """A label in the form that is matched."""
    x0, y0, x1, y1 = label["box"]
    return Thing(label["class"], (x0, y0, x1, y1), known_score(label["score"]))


def matched(labels: Sequence[Thing], objects: Sequence[Thing]) -> Matched:
    """Match the labels of an image with its objects; see the docstring of this module."""
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
            best = max(mine, key=lambda at: (ious[place, at], at))  # ties: the last, as pycocotools
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
    """Pairs of unmatched labels and free objects, largest overlap first."""
    pairs = [(ious[a, b], a, b) for a in left for b in free if ious[a, b] >= MATCH_IOU]
    found, labels, objects = [], set[int](), set[int]()
    for _, a, b in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if a not in labels and b not in objects:
            found.append((a, b))
            labels.add(a)
            objects.add(b)
    return found


def overlaps(labels: Sequence[Thing], objects: Sequence[Thing]) -> Floats:
    """IoU of boxes, (labels, objects); for a crowd region: the share of the label inside it."""
    if not labels or not objects:
        return np.zeros((len(labels), len(objects)))
    found: Floats = coco.iou(_boxes(labels), _boxes(objects), [int(one.crowd) for one in objects])
    return np.asarray(found)


def _boxes(things: Sequence[Thing]) -> list[list[float]]:
    """COCO's x, y, width, height."""
    return [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in (one.box for one in things)]


def mask_overlap(one: RleValue | None, other: RleValue | None) -> float | None:
    """IoU of two RLEs, 0..1; None: one is missing, or their sizes differ."""
    if not one or not other or one["size"] != other["size"]:
        return None
    return float(mask_ious([one], [other])[0, 0])
