"""Which class is taken for which, and for background."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.truth.coco import Compared
from pipelines.truth.label_match import Thing, matched

#: The last row and column of a confusion matrix.
BACKGROUND = "(background)"


@dataclass(frozen=True)
class Confusion:
    """`counts[truth][label]`, of `names`; the last is `BACKGROUND`: invented, and missed."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion(found: Compared, kept: Sequence[dict[str, Any]], names: Sequence[str]) -> Confusion:
    """Count labels by what they are and what they should be.

    In each image what is right is taken first (so the diagonal is what precision and recall count),
    then what is left by overlap, whatever its class.

    Args:
        found: gives the objects.
        kept: COCO results of the labels.
        names: of the classes that occur, in the order of the matrix.
    """
    labels, objects = defaultdict[Any, list[Thing]](list), defaultdict[Any, list[Thing]](list)
    named = {number: name for name, number in found.ids.items()}
    for row in kept:
        labels[row["image_id"]].append(_thing(row, named, row["score"]))
    for row in found.truth.dataset["annotations"]:
        objects[row["image_id"]].append(_thing(row, named, 1.0))
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


def _thing(row: dict[str, Any], named: dict[int, str], score: float) -> Thing:
    x, y, width, height = row["bbox"]
    crowd = bool(row.get("iscrowd"))
    return Thing(named[row["category_id"]], (x, y, x + width, y + height), score, crowd)
