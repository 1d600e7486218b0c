"""Average precision by pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipelines.truth.coco import CocoResult, quiet


def average_precision(truth: COCO, rows: Sequence[CocoResult], kind: str) -> Any:
    """Precision (10 IoUs from 0.50 to 0.95, 101 recalls, classes); -1: the class does not occur."""
    judge = COCOeval(truth, iouType=kind)
    if not rows:
        categories = [one["id"] for one in truth.dataset["categories"]]
        shape = (len(judge.params.iouThrs), len(judge.params.recThrs), len(categories))
        there = {one["category_id"] for one in truth.dataset["annotations"]}
        occurs = [number in there for number in categories]
        return np.where(occurs, 0.0, -1.0) * np.ones(shape)
    with quiet():
        judge = COCOeval(truth, truth.loadRes([dict(row) for row in rows]), kind)
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][:, :, :, 0, -1]  # all sizes, up to 100 labels an image


def mean_precision(precision: Any) -> float | None:
    """Mean over the classes that occur; None: no class occurs."""
    known = precision[precision >= 0]
    return float(known.mean()) if known.size else None
