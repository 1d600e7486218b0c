"""The labels of a run against truth: average precision and mask IoU, by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from actors.ontology import Ontology, normalised
from pipelines.errors import ConfigError
from pipelines.rundir import RunDir
from pipelines.shards import iter_rows
from pipelines.triage import Reason

#: A label finds an object of its class at this IoU of their boxes.
MATCH_IOU = 0.5


@dataclass(frozen=True)
class Scores:
    """What the labels are worth. Shares 0..1; None where there is nothing to count.

    Attributes:
        images: those of the truth that the run has finished (failed ones count: their objects are
            missed).
        missing: images of the truth that the run does not have.
        objects, labels: of these images. Candidates below their threshold are no labels.
        ap, ap50, mask_ap, mask_ap50: COCO average precision of boxes and masks, over IoU
            0.50..0.95 and at 0.5. Labels are cut at their thresholds, which costs recall: the AP
            of all candidates is higher.
        precision, recall: at `MATCH_IOU`, over all classes.
        mask_iou: mean over the objects that were found.
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


def score_run(run: RunDir, truth: Path, ontology: Ontology) -> Scores:
    """Compare a run with COCO instances; images are matched by file name.

    Args:
        run: of the job autolabel, finished or not.
        truth: a COCO JSON; `file_name` is the end of an image's URI. Categories are matched by
            name or prompt; those that the ontology does not ask for are left out.
        ontology: of the run.

    Raises ConfigError if the truth cannot be read or shares no class with the ontology.
    """
    wanted = _read(truth, ontology)
    names = {image["file_name"]: image["id"] for image in wanted["images"]}
    rows: list[dict[str, Any]] = []
    seen: set[int] = set()
    for uri, labels in _labels(run):
        image_id = _lookup(names, uri)
        if image_id is None:
            continue
        if image_id in seen:
            raise ConfigError(
                f"two images of the run end in the file name of one image of {truth}: {uri}",
                "give file_name in the truth as the end of the URI that tells them apart",
            )
        seen.add(image_id)
        rows += [_result(image_id, wanted["ids"][label["class"]], label) for label in labels]
    return _scores(_only(wanted, seen), rows, len(names) - len(seen))


def _read(path: Path, ontology: Ontology) -> dict[str, Any]:
    """The truth with category ids of the ontology's classes, counted from 1."""
    try:
        raw = json.loads(path.read_text())
        images, boxes, categories = raw["images"], raw["annotations"], raw["categories"]
        numbers = _categories(categories, ontology)
        asked = [box for box in boxes if box["category_id"] in numbers]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"truth {path} is no COCO JSON: {type(error).__name__}: {error}",
            "it needs images, annotations and categories",
        ) from None
    if not numbers:
        found = ", ".join(str(one.get("name")) for one in categories[:10])
        raise ConfigError(
            f"no category of {path} is a class of the ontology: {found}",
            "name the classes as the truth does, or give its names as prompts",
        )
    ids = {name: number for number, name in enumerate(ontology.classes, 1)}
    return {
        "images": images,
        "annotations": [box | {"category_id": numbers[box["category_id"]]} for box in asked],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "ids": ids,
    }


def _categories(categories: list[dict[str, Any]], ontology: Ontology) -> dict[int, int]:
    """Category id of the truth -> number of the class."""
    number = {name: place for place, name in enumerate(ontology.classes, 1)}
    known = {normalised(prompt): number[name] for name, prompt in ontology.prompts()}
    known |= {normalised(name): place for name, place in number.items()}
    return {
        one["id"]: known[normalised(one["name"])]
        for one in categories
        if normalised(one["name"]) in known
    }


def _labels(run: RunDir) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(URI, labels) of each image; no labels where it failed."""
    for batch in iter_rows(run, ("uri", "instances")):
        for row in batch.to_pylist():
            yield (
                row["uri"],
                [
                    label
                    for label in row["instances"] or ()
                    if Reason.BELOW_THRESHOLD not in label["reasons"]
                ],
            )


def _lookup(names: Mapping[str, int], uri: str) -> int | None:
    """The image whose file name is the longest end of the URI, whole path parts only."""
    parts = uri.split("/")
    for start in range(len(parts)):
        found = names.get("/".join(parts[start:]))
        if found is not None:
            return found
    return None


def _result(image_id: int, category: int, label: Mapping[str, Any]) -> dict[str, Any]:
    x0, y0, x1, y1 = label["box"]
    box = [x0, y0, x1 - x0, y1 - y0]
    one = {"image_id": image_id, "category_id": category, "bbox": box, "score": label["score"]}
    return one | ({"segmentation": label["mask"]} if label["mask"] else {})


def _only(truth: dict[str, Any], seen: set[int]) -> dict[str, Any]:
    return truth | {
        "images": [image for image in truth["images"] if image["id"] in seen],
        "annotations": [one for one in truth["annotations"] if one["image_id"] in seen],
    }


def _scores(truth: dict[str, Any], rows: list[dict[str, Any]], missing: int) -> Scores:
    wanted = COCO()
    wanted.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        wanted.createIndex()
    boxes = _average_precision(wanted, rows, "bbox")
    with_mask = [row for row in rows if "segmentation" in row]
    masks = _average_precision(wanted, with_mask, "segm")
    found, ious = _found(wanted, rows)
    objects = len(truth["annotations"])
    names = list(truth["ids"])
    return Scores(
        images=len(truth["images"]),
        missing=missing,
        objects=objects,
        labels=len(rows),
        ap=_mean(boxes),
        ap50=_mean(boxes[:1]),
        mask_ap=_mean(masks),
        mask_ap50=_mean(masks[:1]),
        precision=found / len(rows) if rows else None,
        recall=found / objects if objects else None,
        mask_iou=float(np.mean(ious)) if ious else None,
        per_class={
            name: float(column.mean())
            for name, column in zip(names, boxes[0].T, strict=True)
            if column.min() >= 0
        },
    )


def _average_precision(truth: COCO, rows: list[dict[str, Any]], kind: str) -> Any:
    """Precision (10 IoUs from 0.50 to 0.95, 101 recalls, classes); -1: the class does not occur."""
    judge = COCOeval(truth, iouType=kind)
    if not rows:
        shape = (len(judge.params.iouThrs), len(judge.params.recThrs), len(truth.dataset["ids"]))
        there = {one["category_id"] for one in truth.dataset["annotations"]}
        occurs = [number in there for number in truth.dataset["ids"].values()]
        return np.where(occurs, 0.0, -1.0) * np.ones(shape)
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, truth.loadRes([dict(row) for row in rows]), kind)
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][:, :, :, 0, -1]  # all sizes, up to 100 labels an image


def _mean(precision: Any) -> float | None:
    known = precision[precision >= 0]
    return float(known.mean()) if known.size else None


def _found(truth: COCO, rows: list[dict[str, Any]]) -> tuple[int, list[float]]:
    """How many objects a label of their class found, best label first, and the masks' IoUs."""
    free: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for one in truth.dataset["annotations"]:
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
            overlap = coco_mask.iou([row["segmentation"]], [truth.annToRLE(one)], [0])
            ious.append(float(overlap[0, 0]))
    return found, ious
