"""A run of autolabel with its truth, each read once, for all comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from pycocotools.coco import COCO

from actors.ontology import Ontology
from pipelines.decisions.finished import FinishedImage
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.storage.paths import RunPath
from pipelines.truth.coco import (
    CocoAnnotation,
    CocoImage,
    CocoResult,
    category_ids,
    coco_result,
    indexed,
)
from pipelines.truth.label_truth import LabelTruth, read_label_truth
from pipelines.truth.slices import Slice, Slicing, schema_of

#: Rows that are Python objects at once.
_ROWS = 256
_COLUMNS = ("row_id", "uri", "page", "width", "height", "outcome", "instances")


class ImageUnit(TypedDict):
    """An image with truth."""

    row_id: int
    uri: str
    page: int
    outcome: str


@dataclass(frozen=True)
class RunBesideTruth:
    """The finished images of a run with truth, in the form of pycocotools.

    Attributes:
        run, source: the run, and the truth as the user named it.
        ontology: of the run.
        min_score: the run kept candidates down to this score; None: it kept none.
        truth: the images, in the order of their ids, with their objects.
        results: the labels and candidates on these images, in the order of the run.
        units: one for each image, in the order of the ids.
        slices: the requested slices; their members are indices of `units`.
        ids: class -> category id, from 1 in the order of the ontology.
        named: classes with a category in the truth; it says nothing about the others.
        missing: number of images with truth that the run lacks.
        rejected: number of images that a reviewer rejected; they are not in `truth`.
        reviewed: whether the truth is reviewed rows.
    """

    run: RunDir
    source: str
    ontology: Ontology
    min_score: float | None
    truth: COCO
    results: list[CocoResult]
    units: list[ImageUnit]
    slices: list[Slice]
    ids: dict[str, int]
    named: frozenset[str]
    missing: int
    rejected: int
    reviewed: bool

    @property
    def images(self) -> list[CocoImage]:
        """The images of `truth`."""
        images: list[CocoImage] = self.truth.dataset["images"]
        return images

    @property
    def objects(self) -> list[CocoAnnotation]:
        """The objects of `truth`."""
        objects: list[CocoAnnotation] = self.truth.dataset["annotations"]
        return objects

    def thresholds(self) -> dict[str, float]:
        """Class of the ontology -> the threshold of the run."""
        return {name: self.ontology.threshold_of(name) for name in self.ontology.classes}

    def lowest_scores(self) -> dict[str, float]:
        """Class of the ontology -> the lowest score that the run has kept."""
        floor = self.min_score or 1.0
        return {name: min(threshold, floor) for name, threshold in self.thresholds().items()}

    def refuse_empty(self) -> None:
        """Raise ConfigError if no image of the run has truth."""
        if not self.units:
            schema_of(self.run)  # has its own error for a run without finished rows
            raise ConfigError(
                f"no image of {self.source} is in {self.run.path}",
                "file_name in a COCO JSON must be the end of an image's URI; reviewed rows must "
                "have its row_id",
            )


def read_beside_truth(
    run: RunDir, truth: str | RunPath, names: Sequence[str] = (), metadata: Path | None = None
) -> RunBesideTruth:
    """Read a run and its truth, each once.

    Args:
        run: of autolabel, finished or not.
        truth: a COCO JSON or reviewed rows (see `pipelines.truth.label_truth.read_label_truth`).
        names, metadata: of the slices (see `pipelines.truth.slices.Slicing`).

    Raises ConfigError if the truth cannot be read or has no class of the run, if two images of the
    run match one image of a COCO JSON, or if the run has no labels.
    """
    if run.shard_files() and "instances" not in schema_of(run).names:
        raise ConfigError(f"{run.path} holds no labels", "give a run of autolabel")
    slicing = Slicing(run, names, metadata) if names else None
    detector = run.read_record()["config"]["detector"]
    ontology = Ontology.model_validate(detector["ontology"])
    read = read_label_truth(run, truth, ontology)
    pairing = _Pairing(read, ontology, str(truth))
    for row in _rows(run, (*_COLUMNS, *(slicing.columns if slicing else ()))):
        pairing.take(row)
    pairing.sort()
    return RunBesideTruth(
        run=run,
        source=str(truth),
        ontology=ontology,
        min_score=detector.get("min_score"),
        truth=pairing.as_coco(),
        results=pairing.results,
        units=[_unit(row) for row in pairing.rows],
        slices=_slices(slicing, pairing.rows),
        ids=pairing.ids,
        named=read.named,
        missing=len(read) - len(pairing.rows),
        rejected=read.rejected,
        reviewed=read.reviewed,
    )


def _slices(slicing: Slicing | None, rows: Sequence[FinishedImage]) -> list[Slice]:
    if slicing is None or not rows:
        return []
    for row in rows:
        slicing.add(row)
    return slicing.slices()


class _Pairing:
    """Collects the rows of a run that have truth."""

    def __init__(self, truth: LabelTruth, ontology: Ontology, source: str) -> None:
        self._truth, self._source = truth, source
        self._pairs: dict[int, tuple[CocoImage, FinishedImage]] = {}  # by key
        self.ids = category_ids(ontology)
        self.results: list[CocoResult] = []

    @property
    def rows(self) -> list[FinishedImage]:
        """The rows with truth."""
        return [row for _, row in self._pairs.values()]

    def take(self, row: FinishedImage) -> None:
        """Take the next row of the run."""
        key = self._truth.key_of(row)
        if key is None:
            return
        if key in self._pairs:
            raise ConfigError(
                f"two images of the run match the same file_name of {self._source}: one is "
                f"{row['uri']}",
                "make file_name longer: the end of the URI of only one image",
            )
        image = self._truth.images.get(key) or self._image(row)
        labels = row["instances"] or []
        self.results += [coco_result(image["id"], self.ids[one["class"]], one) for one in labels]
        row["instances"] = None  # masks are in the results
        self._pairs[key] = image, row

    def _image(self, row: FinishedImage) -> CocoImage:
        """An image of reviewed rows: these have no image ids, so it gets one."""
        number, width, height = len(self._pairs) + 1, row["width"], row["height"]
        return {"id": number, "file_name": row["uri"], "width": width, "height": height}

    def sort(self) -> None:
        """Put the images in the order of their ids, as pycocotools does."""
        self._pairs = dict(sorted(self._pairs.items(), key=lambda item: item[1][0]["id"]))

    def as_coco(self) -> COCO:
        """The images with their objects, indexed."""
        objects: list[CocoAnnotation] = []
        for key, (image, _) in self._pairs.items():
            for one in self._truth.objects[key]:
                objects.append({**one, "id": len(objects) + 1, "image_id": image["id"]})
        return indexed(
            {
                "images": [image for image, _ in self._pairs.values()],
                "annotations": objects,
                "categories": [{"id": number, "name": name} for name, number in self.ids.items()],
            }
        )


def _unit(row: FinishedImage) -> ImageUnit:
    return {
        "row_id": row["row_id"],
        "uri": row["uri"],
        "page": row["page"],
        "outcome": row["outcome"],
    }


def _rows(run: RunDir, columns: Sequence[str]) -> Iterator[FinishedImage]:
    for batch in iter_rows(run, tuple(dict.fromkeys(columns))):
        for start in range(0, batch.num_rows, _ROWS):
            yield from batch.slice(start, _ROWS).to_pylist()
