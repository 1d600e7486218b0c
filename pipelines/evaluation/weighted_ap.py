"""Average precision with weighted images, for slices and bootstrap draws.

pycocotools matches once (`COCOeval.evaluate`, the slow part), and its `accumulate` counts every
image once. Here every image has a weight, so 300 draws need one evaluation. With weights of 1 the
figures are those of `accumulate`, and the comparisons behind them are equal bit for bit (tested,
also on data sets with repeated images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipelines.measures.intervals import Bools, Floats, Ints
from pipelines.truth.coco import CocoResult, indexed, quiet
from pipelines.truth.detections_judged import CocoMatches

#: Draws for intervals of AP; each costs a sum over all labels at ten IoUs.
DRAWS = 300
#: Most numbers in one matrix (draws, labels): 16 MB, and several exist at a time.
_MOST = 2_000_000


@dataclass(frozen=True)
class Ranked:
    """Labels of one class in one range of sizes, best score first.

    Attributes:
        images: (n,) index of the image of each label.
        right, wrong: (10, n) at IoUs 0.50 to 0.95; a label that is neither is ignored.
        where, objects: indices of the images with objects of the class, and their numbers.
    """

    images: Ints
    right: Bools
    wrong: Bools
    where: Ints
    objects: Floats

    def of(self, members: Ints) -> Ranked:
        """The labels and objects on some of the images."""
        labels, there = np.isin(self.images, members), np.isin(self.where, members)
        return Ranked(
            self.images[labels],
            self.right[:, labels],
            self.wrong[:, labels],
            self.where[there],
            self.objects[there],
        )


def coco_evaluation(truth: COCO, results: Sequence[CocoResult], kind: str) -> COCOeval:
    """pycocotools on COCO results, evaluated and accumulated. `kind`: bbox or segm.

    For masks the boxes are left out, so that areas are those of the masks.
    """
    rows = [_as_result(row, kind) for row in results]
    with quiet():
        found = truth.loadRes(rows) if rows else _nothing_found(truth)
        judged = COCOeval(truth, found, kind)
        judged.evaluate()
        judged.accumulate()
    return judged


def _as_result(row: CocoResult, kind: str) -> dict[str, object]:
    """A copy, because loadRes changes its input."""
    left_out = "bbox" if kind == "segm" else "segmentation"
    return {key: value for key, value in row.items() if key != left_out}


def _nothing_found(truth: COCO) -> COCO:
    images, categories = truth.dataset["images"], truth.dataset["categories"]
    return indexed({"images": images, "annotations": [], "categories": categories})


def ranked(judged: COCOeval) -> list[list[Ranked]]:
    """[size][class]: sizes are all, small, medium, large; classes in pycocotools' order."""
    params = judged.params
    places = {number: place for place, number in enumerate(params.imgIds)}
    count = len(params.imgIds)
    found = []
    for area in range(len(params.areaRng)):
        starts = [(k * len(params.areaRng) + area) * count for k in range(len(params.catIds))]
        found.append([_ranked(judged.evalImgs[at : at + count], places) for at in starts])
    return found


def _ranked(images: Sequence[CocoMatches | None], places: dict[int, int]) -> Ranked:
    there = [one for one in images if one is not None]
    scores = np.concatenate([np.empty(0), *(one["dtScores"] for one in there)])
    order = np.argsort(-scores, kind="mergesort")  # as accumulate does
    empty = [np.empty((10, 0), bool)]
    hit = np.concatenate([*empty, *(one["dtMatches"] > 0 for one in there)], axis=1)[:, order]
    ignored = np.concatenate([*empty, *(one["dtIgnore"] > 0 for one in there)], axis=1)[:, order]
    numbers = np.array([places[one["image_id"]] for one in there], np.int64)
    counts = np.array([len(one["dtScores"]) for one in there], np.int64)
    objects = np.array([np.count_nonzero(np.asarray(one["gtIgnore"]) == 0) for one in there], float)
    return Ranked(
        images=np.repeat(numbers, counts)[order],
        right=hit & ~ignored,
        wrong=~hit & ~ignored,
        where=numbers[objects > 0],
        objects=objects[objects > 0],
    )


def precisions(classes: Sequence[Ranked], draws: Floats) -> Floats:
    """(draws, classes, 10) AP at each IoU; NaN where a draw holds no object of a class.

    Args:
        classes: of one range of sizes.
        draws: (draws, images), how often each image counts.
    """
    found = np.full((len(draws), len(classes), 10), np.nan)
    for place, one in enumerate(classes):
        step = max(_MOST // max(len(one.images), 1), 1)
        for start in range(0, len(draws), step):
            some = draws[start : start + step]
            found[start : start + step, place] = _precision(one, some)
    return found


def _precision(one: Ranked, draws: Floats) -> Floats:
    """AP of one class at each IoU, (draws, 10)."""
    total = draws[:, one.where] @ one.objects
    weights = draws[:, one.images]
    found = np.zeros((len(draws), 10))
    with np.errstate(invalid="ignore", divide="ignore"):
        for place in range(10 if len(one.images) else 0):
            right = np.cumsum(weights * one.right[place], axis=1)
            wrong = np.cumsum(weights * one.wrong[place], axis=1)
            found[:, place] = _mean_at_recalls(right / total[:, None], right, wrong)
    found[total == 0] = np.nan
    return found


#: pycocotools' `recThrs`, made as there.
RECALLS = np.linspace(0.0, 1.00, 101, endpoint=True)


def _mean_at_recalls(recall: Floats, right: Floats, wrong: Floats) -> Floats:
    """(draws,) mean precision at 101 recalls, from (draws, n) running sums.

    The precision at a recall is the best one at that recall or above. The weight of a label is the
    number of recalls that it reaches first. A recall that no label reaches counts 0.
    """
    precision = right / (wrong + right + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALLS, np.nan_to_num(recall), side="right")
    # No recall is reached before the first label. If a draw leaves out the first label, it reaches
    # recall 0 with precision 0, and `best` raises that to the precision of the next label.
    first = np.diff(reached, axis=1, prepend=0)
    mean: Floats = (first * best).sum(axis=1) / len(RECALLS)
    return mean


def mean_over(found: Floats, ious: slice = slice(None)) -> Floats:
    """(draws,) mean over the classes that occur and some of the IoUs; NaN: no class occurs."""
    chosen = found[:, :, ious].mean(axis=2)
    known = np.isfinite(chosen)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(known, chosen, 0).sum(axis=1) / known.sum(axis=1)
    return mean
