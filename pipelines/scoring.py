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
        ap, ap50, mask_ap, mask_ap50: COCO average precision of boxes and of masks (None where an
            object of the truth has no outline), over IoU 0.50..0.95 and at 0.5. Labels are cut at
            their thresholds, which costs recall: the AP of all candidates is higher.
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
    return _scores(compared(run, truth, ontology))


@dataclass(frozen=True)
class Compared:
    """A run beside its truth, as pycocotools takes both.

    Attributes:
        truth: the images that the run has finished, with the objects on them.
        results: a COCO result of each label and candidate, with `kept`: whether it is a label.
        ids: class -> category id, from 1 in the order of the ontology.
        named: classes that the truth has a category of; of the others it says nothing.
        missing: images of the truth that the run does not have.
    """

    truth: COCO
    results: list[dict[str, Any]]
    ids: dict[str, int]
    named: frozenset[str]
    missing: int


def compared(run: RunDir, truth: Path, ontology: Ontology) -> Compared:
    """Match the images of a run with those of its truth. Arguments and errors: `score_run`."""
    wanted = read_coco(truth, ontology)
    names = {image["file_name"]: image["id"] for image in wanted["images"]}
    rows: list[dict[str, Any]] = []
    seen: set[int] = set()
    for uri, labels in _labels(run):
        image_id = lookup(names, uri)
        if image_id is None:
            continue
        if image_id in seen:
            raise ConfigError(
                f"two images of the run end in the file name of one image of {truth}: {uri}",
                "give file_name in the truth as the end of the URI that tells them apart",
            )
        seen.add(image_id)
        rows += [result_of(image_id, wanted["ids"][label["class"]], label) for label in labels]
    ids = wanted["ids"]
    named = frozenset(name for name, number in ids.items() if number in wanted["named"])
    return Compared(indexed(_only(wanted, seen)), rows, ids, named, len(names) - len(seen))


def indexed(dataset: dict[str, Any]) -> COCO:
    """A COCO data set that is not in a file."""
    made = COCO()
    made.dataset = dataset
    with quiet():
        made.createIndex()
    return made


def quiet() -> contextlib.AbstractContextManager[Any]:
    """pycocotools prints as it goes."""
    return contextlib.redirect_stdout(io.StringIO())


def read_coco(path: Path, ontology: Ontology) -> dict[str, Any]:
    """The truth with category ids of the ontology's classes, counted from 1.

    Beside COCO's own keys: `ids`, class -> category id, and `named`, the ids that the truth has.
    Raises ConfigError as `score_run` says.
    """
    try:
        raw = json.loads(path.read_text())
        images, boxes, categories = raw["images"], raw["annotations"], raw["categories"]
        numbers = _categories(categories, ontology)
        asked = [
            {"area": box["bbox"][2] * box["bbox"][3], "iscrowd": 0} | box
            for box in boxes
            if box["category_id"] in numbers
        ]
    except (OSError, ValueError, LookupError, TypeError) as error:
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
        # pycocotools takes an object whose id is 0 for none.
        "annotations": [
            box | {"id": number, "category_id": numbers[box["category_id"]]}
            for number, box in enumerate(asked, 1)
        ],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "ids": ids,
        "named": set(numbers.values()),
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
    """(URI, labels and candidates) of each image; none where it failed."""
    for batch in iter_rows(run, ("uri", "instances")):
        for row in batch.to_pylist():
            yield row["uri"], row["instances"] or []


def lookup(names: Mapping[str, int], uri: str) -> int | None:
    """The image whose file name is the longest end of the URI, whole path parts only."""
    parts = uri.split("/")
    for start in range(len(parts)):
        found = names.get("/".join(parts[start:]))
        if found is not None:
            return found
    return None


def result_of(image_id: int, category: int, label: Mapping[str, Any]) -> dict[str, Any]:
    """A COCO result of a label; one without a score ranks last."""
    x0, y0, x1, y1 = label["box"]
    box = [x0, y0, x1 - x0, y1 - y0]
    score = label["score"] if label["score"] is not None and np.isfinite(label["score"]) else 0.0
    one = {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
    one["kept"] = Reason.BELOW_THRESHOLD not in label["reasons"]
    return one | ({"segmentation": label["mask"]} if label["mask"] else {})


def _only(truth: dict[str, Any], seen: set[int]) -> dict[str, Any]:
    return truth | {
        "images": [image for image in truth["images"] if image["id"] in seen],
        "annotations": [one for one in truth["annotations"] if one["image_id"] in seen],
    }


def _scores(of: Compared) -> Scores:
    wanted, truth = of.truth, of.truth.dataset
    rows = [row for row in of.results if row["kept"]]
    boxes = average_precision(wanted, rows, "bbox")
    with_mask = [row for row in rows if "segmentation" in row]
    outlined = all(one.get("segmentation") for one in truth["annotations"])
    masks = average_precision(wanted, with_mask, "segm") if outlined else np.empty(0)
    found, ious = _found(wanted, rows)
    objects = len(truth["annotations"])
    return Scores(
        images=len(truth["images"]),
        missing=of.missing,
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
            for name, column in zip(of.ids, boxes[0].T, strict=True)
            if column.min() >= 0
        },
    )


def average_precision(truth: COCO, rows: list[dict[str, Any]], kind: str) -> Any:
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
    """Mean over the classes that occur; None: none does."""
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
