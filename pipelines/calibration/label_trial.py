"""Cross-validated thresholds of classes: chosen on some images, tested on the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.calibration.fit import folds_of
from pipelines.decisions.error_model import ROUNDING
from pipelines.measures.intervals import Bools, Floats, Interval, Pages, ratio
from pipelines.measures.thresholds import Goal, threshold_for
from pipelines.truth.detections_judged import Judged

_REPEATS = 5


@dataclass(frozen=True)
class Figures:
    """Precision and recall of labels. None: nothing to count."""

    precision: Interval | None
    recall: Interval | None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, 0..1."""
        if self.recall is None:
            return None
        if self.precision is None or self.precision.value + self.recall.value == 0:
            return 0.0
        p, r = self.precision.value, self.recall.value
        return 2 * p * r / (p + r)


@dataclass(frozen=True)
class GroupThreshold:
    """One class with a threshold of its own, or the classes that share one.

    Attributes:
        members: names of the classes.
        objects, candidates: counts; labels are candidates too.
        threshold: chosen on all images; None: no threshold reaches the goal.
        lowest: lowest score that the run has kept for all of these classes.
        before, after: figures with the thresholds of the run, and with held-out chosen ones.
    """

    members: tuple[str, ...]
    objects: int
    candidates: int
    threshold: float | None
    lowest: float
    before: Figures
    after: Figures


class Trial:
    """Cross-validation over images; the folds are the same for all classes."""

    def __init__(self, seen: Judged, lowest: dict[str, float], goal: Goal, seed: int) -> None:
        """`lowest`: class of the ontology -> lowest score that the run has kept."""
        self._seen, self._lowest, self._goal = seen, lowest, goal
        images = np.arange(seen.objects.shape[1])
        self._folds = [list(folds_of(images, seed + repeat)) for repeat in range(_REPEATS)]
        self._draws = Pages(np.zeros(len(images)), np.ones(len(images)), images).draws(seed)
        #: (d,) accepted by the held-out thresholds of the first repeat, elsewhere by the run's.
        self.accepted = seen.kept.copy()

    def group(self, members: tuple[str, ...]) -> GroupThreshold:
        """Choose one threshold for all `members`, and test such thresholds on held-out images."""
        seen, names = self._seen, list(self._lowest)
        kinds = [names.index(name) for name in members]
        mine = np.isin(seen.classes, kinds)
        objects = seen.objects[kinds].sum(axis=0)
        lowest = max(self._lowest[name] for name in members)
        accepted = np.zeros((_REPEATS, len(seen.scores)), bool)
        for repeat, folds in enumerate(self._folds):
            for train, held in folds:
                chosen = self._chosen(mine & np.isin(seen.images, train), objects[train], lowest)
                there = mine & np.isin(seen.images, held)
                accepted[repeat, there] = self._reach(chosen)[there]
        self.accepted[mine] = accepted[0, mine]
        return GroupThreshold(
            members=members,
            objects=int(objects.sum()),
            candidates=int(mine.sum()),
            threshold=self._chosen(mine, objects, lowest),
            lowest=lowest,
            before=self._figures((seen.kept & mine).astype(float), objects),
            after=self._figures(accepted.mean(axis=0), objects),
        )

    def _chosen(self, these: Bools, objects: Floats, lowest: float) -> float | None:
        # Below the highest of several floors the candidates of some members are missing.
        these = these & self._reach(lowest)
        of = self._seen
        return threshold_for(
            of.scores[these], of.right[these], float(objects.sum()), self._goal, lowest
        )

    def _reach(self, threshold: float | None) -> Bools:
        """(d,) whether a score reaches the threshold. Tolerance: the run compared in float32."""
        reach: Bools = self._seen.scores >= (np.inf if threshold is None else threshold - ROUNDING)
        return reach

    def _figures(self, weight: Floats, objects: Floats) -> Figures:
        """Figures of labels with the weights `weight`, (d,)."""
        of = self._seen
        labels, right = (
            np.bincount(of.images, counted, len(objects)).astype(np.float64)
            for counted in (weight, weight * of.right)
        )
        return Figures(
            _widened(ratio(right, labels, self._draws), float(labels.sum())),
            _widened(ratio(right, objects, self._draws), float(objects.sum())),
        )


def _widened(figure: Interval | None, count: float) -> Interval | None:
    """Wilson's interval of `count` if all are right or all are wrong: a bootstrap has no spread."""
    if figure is None or figure.low < figure.high:
        return figure
    room = 1.96**2 / (count + 1.96**2)
    low, high = max(figure.value - room, 0.0), min(figure.value + room, 1.0)
    return Interval(value=figure.value, low=low, high=high)
