"""Thresholds for the classes of an ontology, from a run whose objects are known.

A label is right if it finds an object of its class (`pipelines.truth.detections_judged`).

A class with enough objects gets a threshold of its own; the others share one, if together they have
enough. What is reported is held out: thresholds are chosen on some images and judged on others
(cross-validated, `_REPEATS` times). The thresholds that are given are chosen on all images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.ontology import Ontology
from pipelines.calibration.fit import folds_of
from pipelines.decisions.error_model import ROUNDING
from pipelines.errors import ConfigError
from pipelines.measures.intervals import Bools, Floats, Interval, Pages, ratio
from pipelines.measures.thresholds import Goal, best_f1, precision_of, threshold_for
from pipelines.runs.directory import RunDir
from pipelines.truth.average_precision import average_precision, mean_precision
from pipelines.truth.coco import Compared
from pipelines.truth.detections_judged import Judged, judged
from pipelines.truth.labels import Labelled, labelled

#: With fewer objects one of them moves the recall by more than 10 points: no own threshold.
FEWEST = 10
#: Below this an interval of a share is wider than 0.2 either way or so.
ENOUGH = 50
#: Fewer images than this cannot be cross-validated.
FEWEST_IMAGES = 6
#: Outcomes that `nightjar review export` offers.
_QUEUE = frozenset({"review", "failed"})
_REPEATS = 5


@dataclass(frozen=True)
class Figures:
    """Of labels. None: nothing to count."""

    precision: Interval | None
    recall: Interval | None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both."""
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
        objects, candidates: how many; labels count among the candidates.
        threshold: chosen on all images; None: no threshold reaches the goal.
        lowest: the lowest score that the run has kept, at all its classes.
        before, after: figures at the present thresholds, and at held-out chosen ones.
    """

    members: tuple[str, ...]
    objects: int
    candidates: int
    threshold: float | None
    lowest: float
    before: Figures
    after: Figures


@dataclass(frozen=True)
class AveragePrecision:
    """COCO AP of boxes over IoU 0.50..0.95: of labels now, with held-out thresholds, of everything.

    A threshold cuts the tail that AP counts: no threshold lifts it above that of all candidates.
    """

    before: float | None
    after: float | None
    candidates: float | None


@dataclass(frozen=True)
class Thresholds:
    """What came of it.

    Attributes:
        own: classes with a threshold of their own.
        shared: the others together; None: they have too few objects even so, or there are none.
        too_few: class -> objects, of the others.
        unnamed: classes that the truth has no category of; it says nothing about them.
        now: class -> the threshold of the run.
        ap, ap_of: of all classes, and of each that occurs.
        images: of the truth that the run has; `missing`: those that it has not.
        rejected: images that a reviewer has rejected; they are among neither.
    """

    own: tuple[GroupThreshold, ...]
    shared: GroupThreshold | None
    too_few: dict[str, int]
    unnamed: tuple[str, ...]
    now: dict[str, float]
    ap: AveragePrecision
    ap_of: dict[str, AveragePrecision]
    images: int
    missing: int
    warnings: tuple[str, ...]
    rejected: int = 0


def calibrate_detections(
    run: RunDir, truth: str | Path, target_precision: float | None, seed: int = 0
) -> Thresholds:
    """Choose thresholds for the best F1, or for a precision at the highest recall.

    Args:
        run: of the job autolabel; `detector.min_score` in its config says how far below the
            thresholds it has looked.
        truth: COCO JSON (see `pipelines.evaluation.scores.score_run`), or reviewed rows (see
            `pipelines.truth.labels.is_reviewed`).
        target_precision: 0..1; None: best F1.

    Raises ConfigError if truth and run have too few images, or no labels or objects in common.
    """
    detector = run.read_record()["config"]["detector"]
    ontology = Ontology.model_validate(detector["ontology"])
    beside = labelled(run, truth, ())
    found = beside.found
    seen = judged(found)
    _refuse(seen, run, truth)
    every = {name: ontology.threshold_of(name) for name in ontology.classes}
    now = {name: threshold for name, threshold in every.items() if name in found.named}
    lowest = {name: min(of, detector.get("min_score") or 1.0) for name, of in every.items()}
    goal = best_f1 if target_precision is None else precision_of(target_precision)
    trial = _Trial(seen, lowest, goal, seed)
    counts = {name: int(seen.objects[found.ids[name] - 1].sum()) for name in now}
    poor = {name: count for name, count in counts.items() if count < FEWEST}
    own = tuple(trial.group((name,)) for name in now if name not in poor)
    shared = trial.group(tuple(poor)) if sum(poor.values()) >= FEWEST else None
    ap, ap_of = _average_precisions(found, seen, trial.accepted)
    groups = [*own, *([shared] if shared else [])]
    return Thresholds(
        own=own,
        shared=shared,
        too_few=poor,
        unnamed=tuple(name for name in every if name not in now),
        now=now,
        ap=ap,
        ap_of=ap_of,
        images=seen.objects.shape[1],
        missing=found.missing,
        warnings=(*_warnings(groups, lowest, now), *_doubtful_only(beside)),
        rejected=beside.rejected,
    )


def _doubtful_only(beside: Labelled) -> Iterator[str]:
    """Of reviewed images: whether the queue alone was looked at."""
    if beside.reviewed and all(unit["outcome"] in _QUEUE for unit in beside.units):
        yield (
            "all truth is of images that waited for review: such thresholds are those of doubtful "
            "images; review some that were accepted as well"
        )


def _refuse(seen: Judged, run: RunDir, truth: str | Path) -> None:
    images = seen.objects.shape[1]
    if images < FEWEST_IMAGES:
        raise ConfigError(
            f"{images} images of {truth} are in {run.path}: too few to cross-validate",
            f"label {FEWEST_IMAGES} or more; file_name in the truth is the end of an image's URI",
        )
    if not len(seen.scores):
        raise ConfigError(
            f"{run.path} has neither labels nor candidates on the images of {truth}",
            "set detector.min_score in its config, so that candidates are written, and run again",
        )
    if seen.objects.sum() < FEWEST:
        raise ConfigError(
            f"{truth} holds {seen.objects.sum():.0f} objects of the run's classes: too few",
            f"label {FEWEST} or more, {ENOUGH} of each class for figures that mean something",
        )


class _Trial:
    """Cross-validation over images; the folds are the same for all classes."""

    def __init__(self, seen: Judged, lowest: dict[str, float], goal: Goal, seed: int) -> None:
        """`lowest`: of every class of the ontology, the lowest score that the run has kept."""
        self._seen, self._lowest, self._goal = seen, lowest, goal
        images = np.arange(seen.objects.shape[1])
        self._folds = [list(folds_of(images, seed + repeat)) for repeat in range(_REPEATS)]
        self._draws = Pages(np.zeros(len(images)), np.ones(len(images)), images).draws(seed)
        #: (d,) what held-out thresholds of the first repeat accept; the present ones elsewhere.
        self.accepted = seen.kept.copy()

    def group(self, members: tuple[str, ...]) -> GroupThreshold:
        """Choose one threshold for all `members`, and try such thresholds on held-out images."""
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
        # Below the highest of several floors not all members were looked for.
        these = these & self._reach(lowest)
        of = self._seen
        return threshold_for(
            of.scores[these], of.right[these], float(objects.sum()), self._goal, lowest
        )

    def _reach(self, threshold: float | None) -> Bools:
        """(d,); the run compared in float32."""
        reach: Bools = self._seen.scores >= (np.inf if threshold is None else threshold - ROUNDING)
        return reach

    def _figures(self, weight: Floats, objects: Floats) -> Figures:
        """Of labels that count as much as `weight`, (d,), says."""
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
    """All right or all wrong has no spread to draw from: then Wilson's interval of `count`."""
    if figure is None or figure.low < figure.high:
        return figure
    room = 1.96**2 / (count + 1.96**2)
    low, high = max(figure.value - room, 0.0), min(figure.value + room, 1.0)
    return Interval(value=figure.value, low=low, high=high)


def _average_precisions(
    found: Compared, seen: Judged, accepted: Bools
) -> tuple[AveragePrecision, dict[str, AveragePrecision]]:
    after = set(seen.rows[accepted].tolist())
    choices: list[list[dict[str, Any]]] = [
        [row for row in found.results if row["kept"]],
        [row for place, row in enumerate(found.results) if place in after],
        found.results,
    ]
    precisions = [average_precision(found.truth, rows, "bbox") for rows in choices]
    whole = AveragePrecision(*(mean_precision(one) for one in precisions))
    each = {
        name: AveragePrecision(*(mean_precision(one[:, :, number - 1]) for one in precisions))
        for name, number in found.ids.items()
        if seen.objects[number - 1].any()
    }
    return whole, each


def _warnings(
    groups: Sequence[GroupThreshold], lowest: dict[str, float], now: dict[str, float]
) -> Iterator[str]:
    blind = all(lowest[name] == now[name] for name in now)
    if blind:
        yield (
            "the run has kept nothing below its thresholds: they can only rise. With "
            "detector.min_score, say 0.1, it keeps candidates"
        )
    floored = [
        name
        for group in groups
        if group.threshold is not None and group.threshold <= group.lowest
        for name in group.members
    ]
    if floored and not blind:
        yield (
            f"everything that the run has kept is taken for {', '.join(floored)}: a lower "
            "detector.min_score may find more"
        )
    small = [
        f"{name} ({group.objects})"
        for group in groups
        for name in group.members
        if len(group.members) == 1 and group.objects < ENOUGH
    ]
    if small:
        yield f"few objects, wide intervals: {', '.join(small)}; {ENOUGH} of a class say something"
