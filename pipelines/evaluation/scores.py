"""The figures of a run's labels against truth, for the run summary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from actors.images.rle import mask_ious
from pipelines.truth.average_precision import average_precision, mean_precision
from pipelines.truth.coco import MATCH_IOU, CocoAnnotation, CocoResult
from pipelines.truth.labels import RunBesideTruth


@dataclass(frozen=True)
class Scores:
    """Figures of the labels. Shares are 0..1; None: nothing to count.

    Attributes:
        images: images with truth that the run has finished. Objects of failed images are missed.
        missing: images with truth that the run lacks.
        objects, labels: counts on these images. Candidates below their threshold are not labels.
        ap, ap50, mask_ap, mask_ap50: COCO average precision of boxes and of masks, over IoU
            0.50..0.95 and at 0.5. Masks: None if an object of the truth has no outline. The
            thresholds of the labels cost recall: the AP of all candidates is higher.
        precision, recall: at `MATCH_IOU`, over all classes.
        mask_iou: mean over the found objects.
        per_class: AP at 0.5 of each class that occurs.
    """

    images: int
    missing: int
    objects: int
    labels: int
    ap: float | None
    ap50: float | None
    mask_ap: float | None
    mask_ap50: float | None
    precision: float | None
    recall: float | None
    mask_iou: float | None
    per_class: dict[str, float]


def scores_of(beside: RunBesideTruth) -> Scores:
    """The figures of a run, which may have no image with truth."""
    wanted = beside.truth
    rows = [row for row in beside.results if row["kept"]]
    boxes = average_precision(wanted, rows, "bbox")
    with_mask = [row for row in rows if "segmentation" in row]
    outlined = all(one.get("segmentation") for one in beside.objects)
    masks = average_precision(wanted, with_mask, "segm") if outlined else np.empty(0)
    found, ious = _found(wanted, beside.objects, rows)
    objects = len(beside.objects)
    return Scores(
        images=len(beside.images),
        missing=beside.missing,
        objects=objects,
        labels=len(rows),
        ap=mean_precision(boxes),
        ap50=mean_precision(boxes[:1]),
        mask_ap=mean_precision(masks),
        mask_ap50=mean_precision(masks[:1]),
        precision=found / len(rows) if rows else None,
        recall=found / objects if objects else None,
        mask_iou=float(np.mean(ious)) if ious else None,
        per_class={
            name: float(column.mean())
            for name, column in zip(beside.ids, boxes[0].T, strict=True)
            if column.min() >= 0
        },
    )


def _found(
    truth: COCO, annotations: Sequence[CocoAnnotation], rows: Sequence[CocoResult]
) -> tuple[int, list[float]]:
    """Number of objects that a label of their class finds, best first, and the IoUs of masks."""
    free = defaultdict[tuple[int, int], list[CocoAnnotation]](list)
    for one in annotations:
        free[one["image_id"], one["category_id"]].append(one)
    found, ious = 0, []
    for row in sorted(rows, key=lambda row: -row["score"]):
        objects = free[row["image_id"], row["category_id"]]
        if not objects:
            continue
        overlaps = coco_mask.iou(
            [row["bbox"]], [one["bbox"] for one in objects], [0] * len(objects)
        )
        best = int(np.argmax(overlaps))
        if overlaps[0, best] < MATCH_IOU:
            continue
        found += 1
        one = objects.pop(best)
        if "segmentation" in row and one.get("segmentation"):
            overlap = mask_ious([row["segmentation"]], [truth.annToRLE(one)])
            ious.append(float(overlap[0, 0]))
    return found, ious
