"""Which labels and candidates of a run are right, matched one by one by pycocotools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from pycocotools.cocoeval import COCOeval

from pipelines.measures.intervals import Bools, Floats, Ints
from pipelines.truth.coco import MATCH_IOU, quiet
from pipelines.truth.labels import RunBesideTruth


@dataclass(frozen=True)
class Judged:
    """d labels and candidates, c classes, i images.

    Attributes:
        scores, right, kept: (d,); `kept`: at or above the threshold of the run.
        classes, images: (d,) indices of the class and of the image.
        rows: (d,) indices of the results; results on crowd regions are left out.
        objects: (c, i) number of objects.
    """

    scores: Floats
    right: Bools
    kept: Bools
    classes: Ints
    images: Ints
    rows: Ints
    objects: Floats


class CocoMatches(TypedDict):
    """Matches of one image and class at one IoU, by pycocotools: d results, g objects.

    `dtMatches`: (1, d), id of the object, 0 for none. `dtIgnore`: (1, d). `gtIgnore`: (g,).
    """

    image_id: int
    category_id: int
    dtIds: list[int]
    dtScores: list[float]
    dtMatches: Floats
    dtIgnore: Floats
    gtIgnore: Floats


def judged(beside: RunBesideTruth) -> Judged:
    """Match results with objects, best score first.

    So a threshold never changes the matches above it. All results of an image count, not only the
    first 100. A result that finds no object of its class at IoU `MATCH_IOU` is wrong.
    """
    images = {image["id"]: place for place, image in enumerate(beside.images)}
    objects = np.zeros((len(beside.ids), len(images)))
    columns: list[tuple[float, bool, int, int, int]] = []
    if beside.results and images:
        for one in filter(None, _evaluated(beside)):
            kind, image = one["category_id"] - 1, images[one["image_id"]]
            objects[kind, image] = np.count_nonzero(np.logical_not(one["gtIgnore"]))
            columns += [
                (score, match > 0, kind, image, row - 1)  # ids of results count from 1
                for score, match, ignored, row in zip(
                    one["dtScores"],
                    one["dtMatches"][0],
                    one["dtIgnore"][0],
                    one["dtIds"],
                    strict=True,
                )
                if not ignored
            ]
    table = np.array(columns, dtype=np.float64).reshape(-1, 5)
    rows = table[:, 4].astype(np.int64)
    return Judged(
        scores=table[:, 0],
        right=table[:, 1] > 0,
        kept=np.array([beside.results[row]["kept"] for row in rows], bool),
        classes=table[:, 2].astype(np.int64),
        images=table[:, 3].astype(np.int64),
        rows=rows,
        objects=objects,
    )


def _evaluated(beside: RunBesideTruth) -> list[CocoMatches | None]:
    """Matches of each image and class; None: it has neither results nor objects."""
    with quiet():
        results = beside.truth.loadRes([dict(row) for row in beside.results])
        judge = COCOeval(beside.truth, results, "bbox")
        judge.params.iouThrs = np.array([MATCH_IOU])
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [len(beside.results)]
        judge.evaluate()
    return judge.evalImgs
