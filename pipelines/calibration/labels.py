"""Thresholds for the classes of an ontology, from a run with truth.

A label is right if it finds an object of its class (`pipelines.truth.detections_judged`).

A class with enough objects gets its own threshold. The others share one if together they have
enough. The reported figures are held out: thresholds are chosen on some images and tested on others
(`pipelines.calibration.label_trial`). The thresholds for the config are chosen on all images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.calibration.label_trial import GroupThreshold, Trial
from pipelines.errors import ConfigError
from pipelines.measures.intervals import Bools
from pipelines.measures.thresholds import best_f1, precision_of
from pipelines.truth.average_precision import average_precision, mean_precision
from pipelines.truth.detections_judged import Judged, judged
from pipelines.truth.labels import RunBesideTruth

#: Fewest objects for a threshold of its own: with fewer, one object moves the recall by more than
#: 10 points.
FEWEST = 10
#: Objects for useful figures: with fewer, the 95 % interval of a share is wider than about 0.2.
ENOUGH = 50
#: Fewer images than this cannot be cross-validated.
FEWEST_IMAGES = 6
#: Outcomes that `nightjar review export` offers.
_QUEUE = frozenset({"review", "failed"})


@dataclass(frozen=True)
class AveragePrecision:
    """COCO AP of boxes over IoU 0.50..0.95: with the run's thresholds, held-out ones, and none.

    AP also counts candidates below a threshold, so no threshold raises it above the AP of all
    candidates.
    """

    before: float | None
    after: float | None
    candidates: float | None


@dataclass(frozen=True)
class Thresholds:
    """The chosen thresholds and their figures.

    Attributes:
        own: classes with a threshold of their own.
        shared: the other classes together; None: too few objects, or no such classes.
        too_few: class -> objects, of the other classes.
        unnamed: classes without a category in the truth, which says nothing about them.
        now: class -> the threshold of the run.
        ap, ap_of: of all classes, and of each class that occurs.
        images: images with truth in the run; `missing`: images with truth that the run lacks.
        rejected: images that a reviewer rejected; they are in neither count.
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
    beside: RunBesideTruth, target_precision: float | None, seed: int = 0
) -> Thresholds:
    """Choose thresholds for the best F1, or for the highest recall at a precision.

    Args:
        beside: a run and its truth. Without candidates below its thresholds, these can only rise.
        target_precision: 0..1; None: best F1.

    Raises ConfigError if truth and run have too few images, or no labels or objects in common.
    """
    beside.refuse_empty()
    seen = judged(beside)
    _refuse(seen, beside)
    now = {name: of for name, of in beside.thresholds().items() if name in beside.named}
    goal = best_f1 if target_precision is None else precision_of(target_precision)
    trial = Trial(seen, beside.lowest_scores(), goal, seed)
    counts = {name: int(seen.objects[beside.ids[name] - 1].sum()) for name in now}
    poor = {name: count for name, count in counts.items() if count < FEWEST}
    own = tuple(trial.group((name,)) for name in now if name not in poor)
    shared = trial.group(tuple(poor)) if sum(poor.values()) >= FEWEST else None
    ap, ap_of = _average_precisions(beside, seen, trial.accepted)
    groups = [*own, *([shared] if shared else [])]
    return Thresholds(
        own=own,
        shared=shared,
        too_few=poor,
        unnamed=tuple(name for name in beside.ids if name not in now),
        now=now,
        ap=ap,
        ap_of=ap_of,
        images=len(beside.images),
        missing=beside.missing,
        warnings=(*_warnings(groups, beside.lowest_scores(), now), *_doubtful_only(beside)),
        rejected=beside.rejected,
    )


def _doubtful_only(beside: RunBesideTruth) -> Iterator[str]:
    """A warning if all truth comes from the review queue."""
    if beside.reviewed and all(unit["outcome"] in _QUEUE for unit in beside.units):
        yield (
            "all truth comes from the review queue, so the thresholds fit doubtful images only: "
            "review some accepted images as well"
        )


def _refuse(seen: Judged, beside: RunBesideTruth) -> None:
    images, run, truth = len(beside.images), beside.run, beside.source
    if images < FEWEST_IMAGES:
        raise ConfigError(
            f"{images} images of {truth} are in {run.path}: too few to cross-validate",
            f"label {FEWEST_IMAGES} images or more; file_name in the truth must be the end of an "
            "image's URI",
        )
    if not len(seen.scores):
        raise ConfigError(
            f"{run.path} has neither labels nor candidates on the images of {truth}",
            "set detector.min_score in its config, so that candidates are written, and run again",
        )
    if seen.objects.sum() < FEWEST:
        raise ConfigError(
            f"{truth} holds {seen.objects.sum():.0f} objects of the run's classes: too few",
            f"label {FEWEST} objects or more, and {ENOUGH} of each class for useful figures",
        )


def _average_precisions(
    beside: RunBesideTruth, seen: Judged, accepted: Bools
) -> tuple[AveragePrecision, dict[str, AveragePrecision]]:
    after = set(seen.rows[accepted].tolist())
    choices = [
        [row for row in beside.results if row["kept"]],
        [row for place, row in enumerate(beside.results) if place in after],
        beside.results,
    ]
    precisions = [average_precision(beside.truth, rows, "bbox") for rows in choices]
    whole = AveragePrecision(*(mean_precision(one) for one in precisions))
    each = {
        name: AveragePrecision(*(mean_precision(one[:, :, number - 1]) for one in precisions))
        for name, number in beside.ids.items()
        if seen.objects[number - 1].any()
    }
    return whole, each


def _warnings(
    groups: Sequence[GroupThreshold], lowest: dict[str, float], now: dict[str, float]
) -> Iterator[str]:
    blind = all(lowest[name] == now[name] for name in now)
    if blind:
        yield (
            "the run kept no candidates below its thresholds, so the thresholds can only rise: set "
            "detector.min_score, for example to 0.1, and run again"
        )
    floored = [
        name
        for group in groups
        if group.threshold is not None and group.threshold <= group.lowest
        for name in group.members
    ]
    if floored and not blind:
        yield (
            f"the threshold is the lowest score that the run has kept for {', '.join(floored)}: a "
            "lower detector.min_score may find more objects"
        )
    small = [
        f"{name} ({group.objects})"
        for group in groups
        for name in group.members
        if len(group.members) == 1 and group.objects < ENOUGH
    ]
    if small:
        yield f"few objects, wide intervals: {', '.join(small)}; label {ENOUGH} of each class"
