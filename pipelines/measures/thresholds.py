"""The threshold of a class: what is it worth to accept labels down to a score?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.measures.intervals import Bools, Floats

#: (right labels, all labels, objects of the class) -> worth. Of thresholds, highest first: (n,)
#: counts of what reaches each of them.
Goal = Callable[[Floats, Floats, float], Floats]


def best_f1(right: Floats, labels: Floats, objects: float) -> Floats:
    """F1 of each threshold, highest first."""
    worth: Floats = 2 * right / (labels + objects)
    return worth


def precision_of(target: float) -> Goal:
    """Recall of the thresholds at which the precision is met; the others are worth nothing."""

    def worth(right: Floats, labels: Floats, objects: float) -> Floats:
        met: Floats = np.where(right >= target * labels - 1e-9, right / max(objects, 1), 0.0)
        return met

    return worth


def threshold_for(
    scores: Floats, right: Bools, objects: float, goal: Goal, lowest: float
) -> float | None:
    """The threshold that is worth most, half-way to the next score below; None: none is.

    Args:
        scores, right: (d,) of the candidates of a class.
        objects: of the class on the same images.
        goal: see `best_f1` and `precision_of`.
        lowest: the threshold where all candidates are taken.
    """
    if not len(scores):
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(ordered[1:] < ordered[:-1]), len(ordered) - 1)
    worth = goal(np.cumsum(right[order])[ends].astype(float), ends + 1.0, objects)
    best = int(worth.argmax())
    if worth[best] <= 0:
        return None
    if best == len(ends) - 1:
        return lowest
    at, below = float(ordered[ends[best]]), float(ordered[ends[best] + 1])
    middle = round((at + below) / 2, 4)
    return middle if below < middle <= at else at
