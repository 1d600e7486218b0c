"""COCO: files of true objects, results, and data sets in memory for pycocotools."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from pycocotools.coco import COCO

from actors.images.rle import RleValue
from actors.ontology import Ontology
from actors.phrases import same_words
from pipelines.decisions.triage import Label, Reason
from pipelines.errors import ConfigError
from pipelines.storage.objects import plain_path
from pipelines.storage.paths import RunPath
from pipelines.truth.coco_file import KEYS, REMEDY, read_coco_file

#: Least IoU of boxes at which a label finds an object of its class.
MATCH_IOU = 0.5


class CocoImage(TypedDict):
    """An entry of `images`. `file_name`: the end of an image's URI; `coco_url`: maybe the whole."""

    id: int
    file_name: str
    coco_url: NotRequired[str]
    width: NotRequired[int | None]
    height: NotRequired[int | None]


class CocoCategory(TypedDict):
    """An entry of `categories`."""

    id: int
    name: str


class CocoAnnotation(TypedDict):
    """An entry of `annotations`: a true object.

    `bbox`: x, y, width, height, pixels. `area`: pixels, of the outline if there is one.
    `segmentation`: polygons or an RLE; missing or empty: the object has no outline.
    """

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    segmentation: NotRequired[Any]


class CocoDataset(TypedDict):
    """A file of true objects."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


class CocoResult(TypedDict):
    """A result of pycocotools: a label (`kept`) or a candidate."""

    image_id: int
    category_id: int
    bbox: list[float]
    score: float
    kept: bool
    segmentation: NotRequired[RleValue]


@dataclass(frozen=True)
class CocoTruth:
    """A file of true objects, with the classes of an ontology as its categories.

    Attributes:
        images, annotations: annotations of these classes only. Their ids start at 1, because
            pycocotools takes an object with id 0 for no object.
        named: classes with a category in the file.
    """

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    named: frozenset[str]


def category_ids(ontology: Ontology) -> dict[str, int]:
    """Class -> category id, from 1 in the order of the ontology."""
    return {name: number for number, name in enumerate(ontology.classes, 1)}


def read_coco(path: RunPath, ontology: Ontology) -> CocoTruth:
    """Read a COCO JSON. Categories are matched by name or prompt; the others are left out.

    Raises ConfigError if the file cannot be read or shares no class with the ontology.
    """
    raw = read_coco_file(path)
    images, boxes, categories = (raw[key] for key in KEYS)
    try:
        classes = _classes(categories, ontology)
        asked = [box for box in boxes if box["category_id"] in classes]
        annotations = [
            _annotation(box, number, classes[box["category_id"]])
            for number, box in enumerate(asked, 1)
        ]
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"the truth {path} is not a COCO JSON: {type(error).__name__}: {error}", REMEDY
        ) from None
    if not classes:
        found = ", ".join(str(one.get("name")) for one in categories[:10])
        raise ConfigError(
            f"no category of {path} is a class of the ontology: {found}",
            "use the category names of the truth as names or prompts of the classes",
        )
    numbers = set(classes.values())
    named = frozenset(name for name, number in category_ids(ontology).items() if number in numbers)
    return CocoTruth(images, annotations, named)


def _classes(categories: list[CocoCategory], ontology: Ontology) -> dict[int, int]:
    """Category id in the file -> category id of the class."""
    number = category_ids(ontology)
    known = {same_words(prompt): number[name] for name, prompt in ontology.prompts()}
    known |= {same_words(name): place for name, place in number.items()}
    found = {
        one["id"]: number.get(one["name"], known.get(same_words(one["name"]))) for one in categories
    }
    return {category: place for category, place in found.items() if place is not None}


def _annotation(box: CocoAnnotation, number: int, category: int) -> CocoAnnotation:
    """An object of a file, with defaults for the keys that a file may lack."""
    width, height = box["bbox"][2:]
    made: CocoAnnotation = {
        "id": number,
        "image_id": box["image_id"],
        "category_id": category,
        "bbox": box["bbox"],
        "area": box.get("area", width * height),
        "iscrowd": box.get("iscrowd", 0),
    }
    if "segmentation" in box:
        made["segmentation"] = box["segmentation"]
    return made


def lookup(names: Mapping[str, int], uri: str) -> int | None:
    """The image whose file name is the longest end of the URI, whole path parts only."""
    parts = plain_path(uri).split("/")
    for start in range(len(parts)):
        found = names.get("/".join(parts[start:]))
        if found is not None:
            return found
    return None


def corner_and_size(box: list[float]) -> list[float]:
    """x0, y0, x1, y1 -> COCO's x, y, width, height."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def known_score(score: float | None) -> float:
    """The score; 0 if it is missing or not finite, so that it ranks last."""
    return score if score is not None and math.isfinite(score) else 0.0


def coco_result(image_id: int, category: int, label: Label) -> CocoResult:
    """A label or a candidate as a COCO result."""
    made: CocoResult = {
        "image_id": image_id,
        "category_id": category,
        "bbox": corner_and_size(label["box"]),
        "score": known_score(label["score"]),
        "kept": Reason.BELOW_THRESHOLD not in label["reasons"],
    }
    if label["mask"]:
        made["segmentation"] = label["mask"]
    return made


def indexed(dataset: CocoDataset) -> COCO:
    """A COCO data set from memory, with its index."""
    made = COCO()
    made.dataset = dataset
    with quiet():
        made.createIndex()
    return made


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Suppresses the output of pycocotools."""
    return contextlib.redirect_stdout(io.StringIO())
