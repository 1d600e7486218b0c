"""Which class is taken for which, and for background."""

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
    """`counts[truth][label]`, of `names`; the last is `BACKGROUND`: invented, and missed."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion(
    beside: RunBesideTruth, kept: Sequence[CocoResult], names: Sequence[str]
) -> Confusion:
    """Count labels by what they are and what they should be.

    In each image what is right is taken first (so the diagonal is what precision and recall count),
    then what is left by overlap, whatever its class.

    Args:
        beside: gives the objects.
        kept: of its results, the labels that count.
        names: of the classes that occur, in the order of the matrix.
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
