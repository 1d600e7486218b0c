"""Confusion matrix of the classes and the background."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.truth.coco import CocoResult
from pipelines.truth.label_match import Thing, matched
from pipelines.truth.labels import RunBesideTruth

#: The last row and column of a confusion matrix.
BACKGROUND = "(background)"


@dataclass(frozen=True)
class Confusion:
    """`counts[truth][label]`, in the order of `names`.

    The last name is `BACKGROUND`: its row counts invented labels, its column missed objects.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion(
    beside: RunBesideTruth, kept: Sequence[CocoResult], names: Sequence[str]
) -> Confusion:
    """Count labels by their true class and their class.

    In each image the right labels are matched first, so the diagonal agrees with precision and
    recall. The rest is then matched by overlap, without regard to class.

    Args:
        beside: the run with the objects of its truth.
        kept: the results of `beside` that count as labels.
        names: names of the classes that occur, in the order of the matrix.
    """
    labels, objects = defaultdict[int, list[Thing]](list), defaultdict[int, list[Thing]](list)
    named = {number: name for name, number in beside.ids.items()}
    for row in kept:
        name = named[row["category_id"]]
        labels[row["image_id"]].append(Thing(name, _corners(row["bbox"]), row["score"]))
    for true_one in beside.objects:
        name, crowd = named[true_one["category_id"]], bool(true_one["iscrowd"])
        objects[true_one["image_id"]].append(Thing(name, _corners(true_one["bbox"]), crowd=crowd))
    at = {name: place for place, name in enumerate(names)}
    last = len(names)
    counts = np.zeros((last + 1, last + 1), np.int64)
    for image in {*labels, *objects}:
        mine, true = labels[image], objects[image]
        pairs = matched(mine, true)
        for label, one in (*pairs.right, *pairs.mistaken):
            counts[at[true[one].name], at[mine[label].name]] += 1
        for label in pairs.wrong:
            counts[last, at[mine[label].name]] += 1
        for one in pairs.missed:
            counts[at[true[one].name], last] += 1
    return Confusion((*names, BACKGROUND), tuple(map(tuple, counts.tolist())))


def _corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x, y, x + width, y + height
