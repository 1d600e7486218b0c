"""Evaluate the labels of a run: AP by pycocotools, precision and recall, by class and slice.

Boxes and masks are compared with the objects of the truth. AP counts labels only, and the
thresholds of the labels lower it (`pipelines.evaluation.scores.Scores`). Curves include the
candidates that the run has kept. Intervals are 95 %, from a bootstrap over files with all of their
images. They show the variation over images; they do not cover errors of the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycocotools.cocoeval import COCOeval

from pipelines.calibration.label_trial import Figures
from pipelines.evaluation.confusion import Confusion, confusion
from pipelines.evaluation.thresholds import HeldOut, Thresholds, figures, held_out
from pipelines.evaluation.weighted_ap import DRAWS, coco_evaluation, mean_over, precisions, ranked
from pipelines.measures.intervals import Bools, Floats, Interval, Ints, Pages, interval
from pipelines.truth.average_precision import mean_precision
from pipelines.truth.detections_judged import Judged, judged
from pipelines.truth.labels import RunBesideTruth
from pipelines.truth.slices import SMALL, Slice, known_interval

#: COCO's ranges of object areas, in pixels: up to 32 x 32, up to 96 x 96, above.
SIZES = ("small", "medium", "large")
_IOU_50, _IOU_75 = 0, 5  # places among COCO's ten IoUs


@dataclass(frozen=True)
class AP:
    """Average precision over IoU 0.50 to 0.95, and at 0.5; None: there are no objects."""

    objects: int
    ap: Interval | None
    ap50: Interval | None


@dataclass(frozen=True)
class LabelFigures:
    """Figures of some images or of one class; precision and recall at IoU 0.5."""

    images: int
    labels: int
    ap: AP
    precision: Interval | None
    recall: Interval | None
    f1: float | None


@dataclass(frozen=True)
class SliceFigures:
    """One value of one column; `small`: fewer images than `SMALL`."""

    column: str
    value: str
    small: bool
    figures: LabelFigures


@dataclass(frozen=True)
class Curve:
    """Precision at the recalls 0.00, 0.01 .. 1.00, of labels and candidates of one class."""

    objects: int
    at_50: tuple[float, ...]
    at_75: tuple[float, ...]


@dataclass(frozen=True)
class LabelEvaluation:
    """All figures of `nightjar evaluate` for labels.

    Attributes:
        images: images with truth; `missing`: those that the run lacks; `rejected`: in review.
        candidates: number of results below their thresholds.
        whole, classes, slices, sizes: figures of the labels' boxes.
        masks: AP of the labels' masks, by size and for `all`; empty: some object has no mask.
        everything: AP of labels and candidates; None: there are no candidates.
        unnamed: classes that the truth does not cover; their labels are left out.
    """

    images: int
    missing: int
    rejected: int
    candidates: int
    whole: LabelFigures
    sizes: dict[str, AP]
    masks: dict[str, AP]
    everything: AP | None
    classes: dict[str, LabelFigures]
    slices: tuple[SliceFigures, ...]
    curves: dict[str, Curve]
    confusion: Confusion
    thresholds: HeldOut | None
    unnamed: tuple[str, ...]
    warnings: tuple[str, ...]


def evaluate_labels(beside: RunBesideTruth, seed: int = 0) -> LabelEvaluation:
    """Compare a run of autolabel with its truth. `seed`: of the bootstrap and of the halves.

    Raises ConfigError if no image of the run has truth.
    """
    beside.refuse_empty()
    return _Evaluating(beside, seed).made()


class _Precision:
    """AP of one evaluation of pycocotools, with intervals."""

    def __init__(self, judged_: COCOeval, draws: Floats) -> None:
        self._ranked, self._draws = ranked(judged_), draws[:DRAWS]
        #: (10 IoUs, 101 recalls, classes, sizes), -1 where a class does not occur
        self.grid = judged_.eval["precision"][..., -1]
        self._of_classes: Floats | None = None

    def objects(self) -> Floats:
        """(classes, images) counts, all sizes."""
        found = np.zeros((len(self._ranked[0]), self._draws.shape[1]))
        for place, one in enumerate(self._ranked[0]):
            found[place, one.where] = one.objects
        return found

    def of_size(self, area: int = 0) -> AP:
        """All classes; `area`: 0 all sizes, then `SIZES`. The figure is pycocotools' own."""
        drawn = self._drawn() if area == 0 else precisions(self._ranked[area], self._draws)
        grid = self.grid[:, :, :, area]
        points = mean_precision(grid), mean_precision(grid[:1])
        total = sum(one.objects.sum() for one in self._ranked[area])
        return _ap(total, points, (mean_over(drawn), mean_over(drawn, slice(1))))

    def of_class(self, place: int) -> AP:
        """One class, all sizes."""
        drawn = self._drawn()[:, place : place + 1]
        grid = self.grid[:, :, place, 0]
        points = mean_precision(grid), mean_precision(grid[:1])
        total = self._ranked[0][place].objects.sum()
        return _ap(total, points, (mean_over(drawn), mean_over(drawn, slice(1))))

    def of_images(self, members: Ints) -> AP:
        """All classes and sizes on some of the images."""
        classes = [one.of(members) for one in self._ranked[0]]
        classes = [one for one in classes if len(one.where)]
        drawn = precisions(classes, self._draws)
        point = precisions(classes, np.ones((1, self._draws.shape[1])))
        points = [
            float(value) if np.isfinite(value) else None
            for value in (mean_over(point)[0], mean_over(point, slice(1))[0])
        ]
        total = sum(one.objects.sum() for one in classes)
        return _ap(total, (points[0], points[1]), (mean_over(drawn), mean_over(drawn, slice(1))))

    def _drawn(self) -> Floats:
        if self._of_classes is None:
            self._of_classes = precisions(self._ranked[0], self._draws)
        return self._of_classes


def _ap(total: float, points: Sequence[float | None], drawn: Sequence[Floats]) -> AP:
    ap, ap50 = (
        None if point is None else interval(point, some)
        for point, some in zip(points, drawn, strict=True)
    )
    return AP(int(total), ap, ap50)


class _Evaluating:
    def __init__(self, beside: RunBesideTruth, seed: int) -> None:
        self._beside, self._seed = beside, seed
        self._files = np.unique([unit["uri"] for unit in beside.units], return_inverse=True)[1]
        count = len(beside.units)
        self._draws = Pages(np.zeros(count), np.ones(count), self._files).draws(seed)
        self._names = {
            name: number - 1 for name, number in beside.ids.items() if name in beside.named
        }
        spoken_of = {number + 1 for number in self._names.values()}
        self._results = [row for row in beside.results if row["category_id"] in spoken_of]
        self._kept = [row for row in self._results if row["kept"]]
        self._labels = _Precision(coco_evaluation(beside.truth, self._kept, "bbox"), self._draws)
        # `judged` has no objects for a run without results, but these objects are missed.
        self._seen = replace(judged(beside), objects=self._labels.objects())

    def made(self) -> LabelEvaluation:
        beside = self._beside
        below = len(self._results) - len(self._kept)
        everything = self._labels
        if below:
            everything = _Precision(
                coco_evaluation(beside.truth, self._results, "bbox"), self._draws
            )
        there = self._there()
        return LabelEvaluation(
            images=len(beside.units),
            missing=beside.missing,
            rejected=beside.rejected,
            candidates=below,
            whole=self._figures(self._labels.of_size(), list(self._names.values())),
            sizes={name: self._labels.of_size(area) for area, name in enumerate(SIZES, 1)},
            masks=self._masks(),
            everything=everything.of_size() if below else None,
            classes={
                name: self._figures(self._labels.of_class(place), [place])
                for name, place in there.items()
            },
            slices=tuple(map(self._slice, beside.slices)),
            curves=dict(_curves(everything.grid, there, self._seen)),
            confusion=confusion(beside, self._kept, list(there)),
            thresholds=held_out(
                self._seen, self._thresholds(), self._files, self._draws, self._seed
            ),
            unnamed=tuple(name for name in beside.ids if name not in self._names),
            warnings=tuple(self._warnings()),
        )

    def _there(self) -> dict[str, int]:
        """Classes with an object or a label, and their places."""
        labelled_ = {row["category_id"] - 1 for row in self._kept}
        return {
            name: place
            for name, place in self._names.items()
            if place in labelled_ or self._seen.objects[place].any()
        }

    def _figures(self, ap: AP, places: list[int], members: Ints | None = None) -> LabelFigures:
        seen = self._seen
        inside = np.ones(len(self._files), bool)
        if members is not None:
            inside[:] = False
            inside[members] = True
        these: Bools = seen.kept & np.isin(seen.classes, places) & inside[seen.images]
        objects = np.where(inside, seen.objects[places].sum(axis=0), 0.0)
        found: Figures = figures(seen, these, objects, self._draws)
        files = len(np.unique(self._files[inside]))
        return LabelFigures(
            images=int(inside.sum()),
            labels=int(these.sum()),
            ap=AP(ap.objects, known_interval(ap.ap, files), known_interval(ap.ap50, files)),
            precision=known_interval(found.precision, files),
            recall=known_interval(found.recall, files),
            f1=found.f1,
        )

    def _slice(self, one: Slice) -> SliceFigures:
        ap = self._labels.of_images(one.members)
        made = self._figures(ap, list(self._names.values()), one.members)
        return SliceFigures(one.column, one.value, one.small, made)

    def _masks(self) -> dict[str, AP]:
        objects = self._beside.objects
        with_mask = [row for row in self._kept if "segmentation" in row]
        if not with_mask or not all(one.get("segmentation") for one in objects):
            return {}
        made = _Precision(coco_evaluation(self._beside.truth, with_mask, "segm"), self._draws)
        return {name: made.of_size(area) for area, name in enumerate(("all", *SIZES))}

    def _thresholds(self) -> Thresholds:
        return Thresholds(self._names, self._beside.thresholds(), self._beside.lowest_scores())

    def _warnings(self) -> Iterator[str]:
        count = len(self._beside.units)
        if count < SMALL:
            yield f"{count} images are few: rely on the intervals, not on the figures"
        if self._beside.reviewed:
            yield (
                "the truth is reviewed labels of this run, mostly of images in doubt: other images "
                "may be better, and objects that reviewers overlooked do not count as missed"
            )
        if len(self._results) == len(self._kept):
            yield (
                "the run kept no candidates, so curves end at the thresholds: set "
                "detector.min_score, for example to 0.1, and run again"
            )


def _curves(grid: Floats, there: dict[str, int], seen: Judged) -> Iterator[tuple[str, Curve]]:
    for name, place in there.items():
        objects = int(seen.objects[place].sum())
        if objects:
            at = (grid[iou, :, place, 0].round(4).tolist() for iou in (_IOU_50, _IOU_75))
            yield name, Curve(objects, *map(tuple, at))
