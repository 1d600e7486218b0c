"""The labels of a run against truth: average precision and mask IoU, by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from actors.ontology import Ontology, normalised
from pipelines.decisions.triage import Reason
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows

#: A label finds an object of its class at this IoU of their boxes.
MATCH_IOU = 0.5


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
