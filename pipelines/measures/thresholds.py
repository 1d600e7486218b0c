"""Choose the score threshold of a class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipelines.measures.intervals import Bools, Floats

#: (right labels, all labels, objects of the class) -> value of each threshold; the highest is best.
#: Right labels and all labels: (n,) counts at or above each threshold, highest threshold first.
Goal = Callable[[Floats, Floats, float], Floats]


def best_f1(right: Floats, labels: Floats, objects: float) -> Floats:
    """Goal: F1 of each threshold."""
    worth: Floats = 2 * right / (labels + objects)
    return worth


def precision_of(target: float) -> Goal:
    """Goal: recall of each threshold whose precision is at least `target`, 0 for the others."""

    def worth(right: Floats, labels: Floats, objects: float) -> Floats:
        met: Floats = np.where(right >= target * labels - 1e-9, right / max(objects, 1), 0.0)
        return met

    return worth


def threshold_for(
    scores: Floats, right: Bools, objects: float, goal: Goal, lowest: float
) -> float | None:
    """The best threshold, half-way to the next lower score; None: no value is above 0.

    Args:
        scores, right: (d,) of the candidates of a class.
        objects: number of objects of the class on the same images.
        goal: see `best_f1` and `precision_of`.
        lowest: the threshold that accepts all candidates.
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
