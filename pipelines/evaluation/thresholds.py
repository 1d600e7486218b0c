"""Thresholds of the classes, chosen on one half of the images and reported on the other.

Figures on the images that chose a threshold are too good, so this module reports the gain on the
other images. Thresholds for a config come from `nightjar calibrate`, which uses all images and a
cross-validation. The halves are split by file, so that pages of a file stay together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.calibration.fit import folds_of
from pipelines.calibration.label_trial import Figures
from pipelines.calibration.labels import FEWEST
from pipelines.decisions.error_model import ROUNDING
from pipelines.measures.intervals import Bools, Floats, Ints, ratio
from pipelines.measures.thresholds import best_f1, threshold_for
from pipelines.truth.detections_judged import Judged

#: Fewest files that are split into halves.
_FEWEST_IMAGES = 6


@dataclass(frozen=True)
class HeldThreshold:
    """The threshold of one class in the run and as chosen, both with figures of the other half.

    Attributes:
        name: of the class.
        objects: on the half that chose, and on the half that is reported.
        now, chosen: thresholds; chosen None: no threshold has an F1 above 0.
        before, after: figures with these thresholds.
    """

    name: str
    objects: tuple[int, int]
    now: float
    chosen: float | None
    before: Figures
    after: Figures


@dataclass(frozen=True)
class HeldOut:
    """All classes that have enough objects on both halves.

    Attributes:
        images: on the half that chose, and on the half that is reported.
        classes: these classes; `too_few`: class -> objects, of the others.
        before, after: figures of `classes` together.
    """

    images: tuple[int, int]
    classes: tuple[HeldThreshold, ...]
    too_few: dict[str, int]
    before: Figures
    after: Figures


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a run.

    Attributes:
        places: class -> its index in `Judged.classes`, for classes that the truth covers.
        now, lowest: class -> the run's threshold, and the lowest score that it has kept.
    """

    places: dict[str, int]
    now: dict[str, float]
    lowest: dict[str, float]


def held_out(seen: Judged, of: Thresholds, files: Ints, draws: Floats, seed: int) -> HeldOut | None:
    """Choose thresholds for the best F1 on one half; None: too few files or objects.

    Args:
        seen: labels and candidates.
        of: the thresholds of the run.
        files: (i,) of the images.
        draws: (draws, i) bootstrap of the images.
        seed: of the halves.
    """
    if len(np.unique(files)) < _FEWEST_IMAGES:
        return None
    halves = _Halves(seen, *next(folds_of(files, seed, 2)), draws)
    enough = [name for name, place in of.places.items() if halves.enough(place)]
    if not enough:
        return None
    found, taken = [], np.zeros(len(seen.scores), bool)
    for name in enough:
        one, accepted = halves.of_class(name, of)
        found.append(one)
        taken |= accepted
    places = [of.places[name] for name in enough]
    counts = {name: int(seen.objects[place].sum()) for name, place in of.places.items()}
    return HeldOut(
        images=(len(halves.chooses), len(halves.held)),
        classes=tuple(found),
        too_few={name: count for name, count in counts.items() if name not in enough and count},
        before=halves.figures(seen.kept, places),
        after=halves.figures(taken, places),
    )


class _Halves:
    def __init__(self, seen: Judged, chooses: Ints, held: Ints, draws: Floats) -> None:
        self._seen, self._draws = seen, draws
        self.chooses, self.held = chooses, held
        self._on_held = np.isin(seen.images, held)

    def enough(self, place: int) -> bool:
        """Whether a class has objects to choose with, and objects to report on."""
        objects = self._seen.objects[place]
        return bool(min(objects[self.chooses].sum(), objects[self.held].sum()) >= FEWEST)

    def of_class(self, name: str, of: Thresholds) -> tuple[HeldThreshold, Bools]:
        """Its threshold, and (d,) the labels that it accepts on the half that is reported."""
        seen, place = self._seen, of.places[name]
        mine = seen.classes == place
        learn = mine & ~self._on_held
        objects = seen.objects[place]
        total = float(objects[self.chooses].sum())
        chosen = threshold_for(
            seen.scores[learn], seen.right[learn], total, best_f1, of.lowest[name]
        )
        taken = mine & self._on_held & _reach(seen, chosen)
        one = HeldThreshold(
            name=name,
            objects=(int(total), int(objects[self.held].sum())),
            now=of.now[name],
            chosen=chosen,
            before=self.figures(seen.kept, [place]),
            after=self.figures(taken, [place]),
        )
        return one, taken

    def figures(self, taken: Bools, places: list[int]) -> Figures:
        """Figures of some classes on the half that is reported."""
        these = taken & self._on_held & np.isin(self._seen.classes, places)
        objects = np.zeros(self._seen.objects.shape[1])
        objects[self.held] = self._seen.objects[places][:, self.held].sum(axis=0)
        return figures(self._seen, these, objects, self._draws)


def _reach(seen: Judged, threshold: float | None) -> Bools:
    """(d,) whether a score reaches the threshold. Tolerance: the run compared in float32."""
    reach: Bools = seen.scores >= (np.inf if threshold is None else threshold - ROUNDING)
    return reach


def figures(seen: Judged, these: Bools, objects: Floats, draws: Floats) -> Figures:
    """Figures of the labels `these`, (d,).

    `objects`: (i,) number of objects of their classes on each image that counts.
    """
    labels = np.bincount(seen.images[these], minlength=len(objects)).astype(float)
    right = np.bincount(seen.images[these & seen.right], minlength=len(objects)).astype(float)
    return Figures(ratio(right, labels, draws), ratio(right, objects, draws))
