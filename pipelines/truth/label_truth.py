"""The true objects of images, from a COCO JSON or reviewed rows. Rows of a run are not read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from actors.ontology import Ontology
from pipelines.decisions.finished import FinishedImage
from pipelines.decisions.triage import Label
from pipelines.runs.directory import RunDir
from pipelines.storage.objects import plain_path
from pipelines.storage.paths import RunPath, run_path
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
    """Truth by image. The key of an image is its id in a COCO JSON, else its row id.

    Attributes:
        objects: key -> the true objects, empty for an image without objects.
        images: key -> the image in the COCO JSON.
        names: file name -> key, in a COCO JSON; None: the truth is reviewed rows.
        named: classes of the ontology that the truth covers.
        rejected: number of rejected images; nothing is known of their objects.
    """

    objects: dict[int, list[CocoAnnotation]]
    images: dict[int, CocoImage]
    names: dict[str, int] | None
    named: frozenset[str]
    rejected: int = 0

    @property
    def reviewed(self) -> bool:
        """Whether the truth is reviewed rows."""
        return self.names is None

    def __len__(self) -> int:
        return len(self.objects if self.names is None else set(self.names.values()))

    def key_of(self, row: FinishedImage) -> int | None:
        """The key of a row; None: it has no truth."""
        key = _key(row, self.names)
        return key if key in self.objects else None


def _key(row: FinishedImage, names: dict[str, int] | None) -> int | None:
    return row["row_id"] if names is None else lookup(names, row["uri"])


def read_label_truth(run: RunDir, truth: str | RunPath, ontology: Ontology) -> LabelTruth:
    """Read a COCO JSON (`pipelines.truth.coco.read_coco`) or reviewed rows (`reviewed_files`).

    Args:
        run: the word `reviewed` stands for its reviewed rows.
        truth: a `file_name` in it is the end of a URI, long enough to be unique.
        ontology: of the run. Its classes are the categories; objects of others are left out.

    Raises ConfigError if the truth cannot be read or has none of the classes.
    """
    files = reviewed_files(run, truth)
    if files is not None:
        return _of_review(files, ontology)
    read = read_coco(run_path(truth), ontology)
    objects = defaultdict[int, list[CocoAnnotation]](list)
    for one in read.annotations:
        objects[one["image_id"]].append(one)
    images = {image["id"]: image for image in read.images}
    # An export with --copy-images has new names, and the source in `coco_url`.
    sources = {image["coco_url"]: image["id"] for image in read.images if image.get("coco_url")}
    names = {plain_path(uri): number for uri, number in sources.items()}
    names |= {image["file_name"]: image["id"] for image in read.images}
    return LabelTruth({key: objects[key] for key in images}, images, names, read.named)


def _of_review(files: Sequence[RunPath], ontology: Ontology) -> LabelTruth:
    labels, rejected = reviewed_labels(files)
    ids = category_ids(ontology)
    objects = {
        # The reviewed run may have had more classes.
        row_id: [_annotation(ids[one["class"]], one) for one in true if one["class"] in ids]
        for row_id, true in labels.items()
    }
    return LabelTruth(objects, {}, None, reviewed_classes(files, ontology), rejected)


def _annotation(category: int, label: Label) -> CocoAnnotation:
    """The annotation of a true label. Its ids are set when the data set is made."""
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
    """Looks up the true objects of single rows. It holds boxes, not outlines."""

    def __init__(self, run: RunDir, truth: str | RunPath) -> None:
        """Raises ConfigError: see `read_label_truth`."""
        ontology = ontology_of(run)
        read = read_label_truth(run, truth, ontology)
        names = {number: name for name, number in category_ids(ontology).items()}
        #: classes of the ontology that the truth covers
        self.classes = read.named
        self._names = read.names
        self._things = {
            key: [_thing(one, names[one["category_id"]]) for one in objects]
            for key, objects in read.objects.items()
        }

    def of(self, row: FinishedImage) -> list[Thing] | None:
        """The objects of an image; None: it has no truth."""
        key = _key(row, self._names)
        return None if key is None else self._things.get(key)


def _thing(one: CocoAnnotation, name: str) -> Thing:
    x, y, width, height = one["bbox"]
    return Thing(name, (x, y, x + width, y + height), crowd=bool(one["iscrowd"]))
