"""The true objects of images, whatever form their truth has; no run is read here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.ontology import Ontology
from pipelines.decisions.finished import FinishedImage
from pipelines.decisions.triage import Label
from pipelines.runs.directory import RunDir
from pipelines.storage.paths import RunPath
from pipelines.truth.coco import (
    CocoAnnotation,
    CocoImage,
    category_ids,
    corner_and_size,
    lookup,
    read_coco,
)
from pipelines.truth.label_match import Thing
from pipelines.truth.reviewed import (
    ontology_of,
    reviewed_classes,
    reviewed_files,
    reviewed_labels,
)


@dataclass(frozen=True)
class LabelTruth:
    """A truth by image. The key of an image is its id in a COCO JSON, else its row id.

    Attributes:
        objects: key -> the true objects, none for an image without.
        images: key -> the image in the COCO JSON.
        names: file name -> key, of a COCO JSON; None: the truth is a reviewer's.
        named: classes of the ontology that the truth knows; of the others it says nothing.
        rejected: images that a reviewer rejected, which says nothing about their labels.
    """

    objects: dict[int, list[CocoAnnotation]]
    images: dict[int, CocoImage]
    names: dict[str, int] | None
    named: frozenset[str]
    rejected: int = 0

    @property
    def reviewed(self) -> bool:
        """Whether it is a reviewer's."""
        return self.names is None

    def __len__(self) -> int:
        return len(self.objects if self.names is None else self.names)

    def key_of(self, row: FinishedImage) -> int | None:
        """The key of a row; None: the truth does not know it."""
        key = _key(row, self.names)
        return key if key in self.objects else None


def _key(row: FinishedImage, names: dict[str, int] | None) -> int | None:
    return row["row_id"] if names is None else lookup(names, row["uri"])


def read_label_truth(run: RunDir, truth: str | RunPath, ontology: Ontology) -> LabelTruth:
    """Read a COCO JSON (`pipelines.truth.coco.read_coco`) or reviewed rows (`reviewed_files`).

    Args:
        run: whose reviewed rows the word `reviewed` stands for.
        truth: its `file_name`s are ends of URIs, longer ones telling namesakes apart.
        ontology: of the run. Its classes are the categories; objects of others are left out.

    Raises ConfigError if the truth cannot be read, or knows none of the classes.
    """
    files = reviewed_files(run, truth)
    if files is not None:
        return _of_review(files, ontology)
    read = read_coco(Path(str(truth)), ontology)
    objects = defaultdict[int, list[CocoAnnotation]](list)
    for one in read.annotations:
        objects[one["image_id"]].append(one)
    images = {image["id"]: image for image in read.images}
    names = {image["file_name"]: image["id"] for image in read.images}
    return LabelTruth({key: objects[key] for key in images}, images, names, read.named)


def _of_review(files: Sequence[RunPath], ontology: Ontology) -> LabelTruth:
    labels, rejected = reviewed_labels(files)
    ids = category_ids(ontology)
    objects = {
        # The reviewed run may have asked for more classes.
        row_id: [_annotation(ids[one["class"]], one) for one in true if one["class"] in ids]
        for row_id, true in labels.items()
    }
    return LabelTruth(objects, {}, None, reviewed_classes(files, ontology), rejected)


def _annotation(category: int, label: Label) -> CocoAnnotation:
    """A true label. Its area is that of its box; id and image come with the data set."""
    box = corner_and_size(label["box"])
    made: CocoAnnotation = {
        "id": 0,
        "image_id": 0,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
    }
    if label["mask"]:
        made["segmentation"] = label["mask"]
    return made


class TrueObjects:
    """The objects of any row of a run, one at a time; holds boxes, not the outlines."""

    def __init__(self, run: RunDir, truth: str | RunPath) -> None:
        """Raises ConfigError: see `read_label_truth`."""
        ontology = ontology_of(run)
        read = read_label_truth(run, truth, ontology)
        names = {number: name for name, number in category_ids(ontology).items()}
        #: of the ontology, those that the truth speaks of
        self.classes = read.named
        self._names = read.names
        self._things = {
            key: [_thing(one, names[one["category_id"]]) for one in objects]
            for key, objects in read.objects.items()
        }

    def of(self, row: FinishedImage) -> list[Thing] | None:
        """Those of an image; None where the truth does not know it."""
        key = _key(row, self._names)
        return None if key is None else self._things.get(key)


def _thing(one: CocoAnnotation, name: str) -> Thing:
    x, y, width, height = one["bbox"]
    return Thing(name, (x, y, x + width, y + height), crowd=bool(one["iscrowd"]))
