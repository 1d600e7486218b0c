"""Label differences of one image between two runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NotRequired, TypedDict

import numpy as np

from pipelines.decisions.triage import Label, Reason
from pipelines.measures.intervals import Floats
from pipelines.truth.label_match import Thing, mask_overlap, overlaps, thing_of

#: Labels with a larger IoU are the same label, even of different classes.
SAME_IOU = 0.5
#: At a lower IoU a box has moved, or a mask has changed its shape.
STILL_IOU = 0.9
#: Smaller differences of a score do not count: half precision on another GPU moves it by 0.01.
SAME_SCORE = 0.05


class ChangeKind(StrEnum):
    """Kinds of change of a label. A change can be of several kinds, but NEW and GONE are alone."""

    NEW = "new"
    GONE = "gone"
    RELABELLED = "relabelled"
    MOVED = "moved"  # boxes overlap by less than STILL_IOU
    RESHAPED = "reshaped"  # same box, but another mask, or a mask in one run only
    RESCORED = "rescored"  # by SAME_SCORE or more, with the same class


#: Weights of changes. They order the rows for which no truth decides.
WEIGHT = {
    ChangeKind.NEW: 1.0,
    ChangeKind.GONE: 1.0,
    ChangeKind.RELABELLED: 1.0,
    ChangeKind.MOVED: 0.5,
    ChangeKind.RESHAPED: 0.25,
    ChangeKind.RESCORED: 0.1,
}


#: A change in the output of `nightjar diff --out`. Lists are [before, after].
LabelChangeValue = TypedDict(
    "LabelChangeValue",
    {
        "kinds": list[str],
        "class": list[str | None],
        "score": list[float | None],
        "box": list[list[float] | None],
        "iou": NotRequired[float | None],
        "mask_iou": NotRequired[float | None],
        "candidate": NotRequired[float | None],
    },
)


@dataclass(frozen=True)
class LabelChange:
    """One label, before and after; None: the label is not in that run.

    Attributes:
        iou, mask_iou: IoU of before and after; None: one of them is missing.
        candidate: for NEW and GONE: the score of the candidate below the threshold in the other
            run; None: there is no candidate.
    """

    kinds: tuple[ChangeKind, ...]
    classes: tuple[str | None, str | None]
    scores: tuple[float | None, float | None]
    boxes: tuple[list[float] | None, list[float] | None]
    iou: float | None = None
    mask_iou: float | None = None
    candidate: float | None = None

    def as_dict(self) -> LabelChangeValue:
        """For JSON; an unknown `iou`, `mask_iou` or `candidate` is left out."""
        made: LabelChangeValue = {
            "kinds": [kind.value for kind in self.kinds],
            "class": list(self.classes),
            "score": [_rounded(score) for score in self.scores],
            "box": [box and [round(edge, 1) for edge in box] for box in self.boxes],
        }
        if self.iou is not None:
            made["iou"] = _rounded(self.iou)
        if self.mask_iou is not None:
            made["mask_iou"] = _rounded(self.mask_iou)
        if self.candidate is not None:
            made["candidate"] = _rounded(self.candidate)
        return made


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


@dataclass(frozen=True)
class LabelDiff:
    """Label differences of one image. `same`: the classes of unchanged labels."""

    changes: tuple[LabelChange, ...]
    same: tuple[str, ...]

    @property
    def weight(self) -> float:
        """Sum of the weights of the changes."""
        return sum(max(WEIGHT[kind] for kind in one.kinds) for one in self.changes)


def diff_labels(before: Sequence[Label] | None, after: Sequence[Label] | None) -> LabelDiff:
    """Compare the labels of an image; candidates below their thresholds do not count.

    Boxes with an IoU above `SAME_IOU` are paired, largest IoU first: labels of the same class, then
    the rest without regard to class.

    Args:
        before, after: `instances` of the rows; None (a failed image) counts as no labels.
    """
    one, other = _labels(before), _labels(after)
    mine, yours = list(map(thing_of, one)), list(map(thing_of, other))
    ious = overlaps(mine, yours)
    paired = _paired(ious, mine, yours)
    changes, same = [], []
    for a, b in paired:
        change = _changed(one[a], other[b], float(ious[a, b]))
        if change.kinds:
            changes.append(change)
        else:
            same.append(mine[a].name)
    gone = sorted(set(range(len(one))) - {a for a, _ in paired})
    new = sorted(set(range(len(other))) - {b for _, b in paired})
    changes += [_alone(ChangeKind.GONE, one[a], mine[a], after) for a in gone]
    changes += [_alone(ChangeKind.NEW, other[b], yours[b], before) for b in new]
    return LabelDiff(tuple(changes), tuple(same))


def _labels(instances: Iterable[Label] | None) -> list[Label]:
    return [one for one in instances or () if Reason.BELOW_THRESHOLD not in one["reasons"]]


def _paired(ious: Floats, mine: Sequence[Thing], yours: Sequence[Thing]) -> list[tuple[int, int]]:
    near = [(int(a), int(b)) for a, b in np.argwhere(ious > SAME_IOU)]
    near.sort(key=lambda pair: (mine[pair[0]].name != yours[pair[1]].name, -ious[pair], pair))
    found, lefts, rights = [], set[int](), set[int]()
    for a, b in near:
        if a not in lefts and b not in rights:
            found.append((a, b))
            lefts.add(a)
            rights.add(b)
    return sorted(found)


def _changed(before: Label, after: Label, iou: float) -> LabelChange:
    shape = mask_overlap(before["mask"], after["mask"])
    masks = [one["mask"] is not None for one in (before, after)]
    reshaped = masks[0] != masks[1] or (all(masks) and (shape is None or shape < STILL_IOU))
    renamed = before["class"] != after["class"]
    there = (
        (ChangeKind.RELABELLED, renamed),
        (ChangeKind.MOVED, iou < STILL_IOU),
        (ChangeKind.RESHAPED, iou >= STILL_IOU and reshaped),
        (ChangeKind.RESCORED, not renamed and _rescored(before["score"], after["score"])),
    )
    return LabelChange(
        kinds=tuple(kind for kind, yes in there if yes),
        classes=(before["class"], after["class"]),
        scores=(before["score"], after["score"]),
        boxes=(before["box"], after["box"]),
        iou=iou,
        mask_iou=shape,
    )


def _rescored(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(before - after) >= SAME_SCORE


def _alone(
    kind: ChangeKind, label: Label, thing: Thing, there: Sequence[Label] | None
) -> LabelChange:
    """A label without a partner; `there`: the instances of the image in the other run."""
    near = [
        one["score"]
        for one in there or ()
        if Reason.BELOW_THRESHOLD in one["reasons"]
        and one["class"] == thing.name
        and one["score"] is not None
        and overlaps([thing], [thing_of(one)])[0, 0] > SAME_IOU
    ]
    name, score, box = label["class"], label["score"], label["box"]
    candidate = max(near, default=None)
    if kind is ChangeKind.GONE:
        return LabelChange((kind,), (name, None), (score, None), (box, None), candidate=candidate)
    return LabelChange((kind,), (None, name), (None, score), (None, box), candidate=candidate)
