"""A run of autolabel beside its truth: one read of both, for everything that compares them."""

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
    """What is known of an image that has a truth."""

    row_id: int
    uri: str
    page: int
    outcome: str


@dataclass(frozen=True)
class RunBesideTruth:
    """The finished images of a run that have a truth, as pycocotools takes them.

    Attributes:
        run, source: what was compared: the run, and the truth as it was named.
        ontology: of the run.
        min_score: the run kept candidates down to this score; None: it kept none.
        truth: the images, in the order of their ids, with their objects.
        results: the labels and candidates on these images, in the order of the run.
        units: of each image, in the order of the ids.
        slices: as asked, of places in `units`.
        ids: class -> category id, from 1 in the order of the ontology.
        named: classes that the truth has a category of; of the others it says nothing.
        missing: images of the truth that the run does not have.
        rejected: images that a reviewer rejected; they are not in `truth`.
        reviewed: whether the truth is a reviewer's.
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
        """Those of `truth`."""
        images: list[CocoImage] = self.truth.dataset["images"]
        return images

    @property
    def objects(self) -> list[CocoAnnotation]:
        """Those of `truth`."""
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
        """Raise ConfigError if the truth is of none of the run's images."""
        if not self.units:
            schema_of(self.run)  # nothing finished is another error
            raise ConfigError(
                f"no image of {self.source} is in {self.run.path}",
                "file_name in a COCO JSON is the end of an image's URI; reviewed rows have its "
                "row_id",
            )


def read_beside_truth(
    run: RunDir, truth: str | RunPath, names: Sequence[str] = (), metadata: Path | None = None
) -> RunBesideTruth:
    """Read a run and its truth, each once.

    Args:
        run: of autolabel, finished or not.
        truth: a COCO JSON or reviewed rows (see `pipelines.truth.label_truth.read_label_truth`).
        names, metadata: of slices (see `pipelines.truth.slices.Slicing`).

    Raises ConfigError if the truth cannot be read or knows no class of the run, if two images of
    the run are one image of a COCO JSON, or if the run has no labels.
    """
    if run.shard_files() and "instances" not in schema_of(run).names:
        raise ConfigError(f"{run.path} holds no labels", "it is no run of autolabel")
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
    """Takes the rows of a run and keeps those that have a truth."""

    def __init__(self, truth: LabelTruth, ontology: Ontology, source: str) -> None:
        self._truth, self._source = truth, source
        self._pairs: dict[int, tuple[CocoImage, FinishedImage]] = {}  # by key
        self.ids = category_ids(ontology)
        self.results: list[CocoResult] = []

    @property
    def rows(self) -> list[FinishedImage]:
        """Those with a truth."""
        return [row for _, row in self._pairs.values()]

    def take(self, row: FinishedImage) -> None:
        """The next row of the run."""
        key = self._truth.key_of(row)
        if key is None:
            return
        if key in self._pairs:
            raise ConfigError(
                f"two images of the run end in the file name of one image of {self._source}: "
                f"{row['uri']}",
                "give file_name in the truth as the end of the URI that tells them apart",
            )
        image = self._truth.images.get(key) or self._image(row)
        labels = row["instances"] or []
        self.results += [coco_result(image["id"], self.ids[one["class"]], one) for one in labels]
        row["instances"] = None  # masks are in the results
        self._pairs[key] = image, row

    def _image(self, row: FinishedImage) -> CocoImage:
        """A reviewed image: reviewed rows have no ids of their own."""
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
