"""The labels of a run beside their truth, image by image, whatever form the truth has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from actors.ontology import Ontology
from pipelines.errors import ConfigError
from pipelines.review.importing import REVIEWED, last_answers
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.storage.paths import RunPath, listed, run_path
from pipelines.truth.coco import Compared, compared, indexed, lookup, read_coco, result_of
from pipelines.truth.label_match import Thing
from pipelines.truth.slices import Slice, Slicing, schema_of

#: What `--truth` takes for the reviewed rows of the run itself.
REVIEWED_TRUTH = "reviewed"
#: Rows that are Python objects at once.
_ROWS = 256
_UNIT = ("row_id", "uri", "page", "outcome")


@dataclass(frozen=True)
class Labelled:
    """A run beside its truth.

    Attributes:
        found: as pycocotools takes it; its images are in the order of their ids.
        units: row_id, uri, page, outcome of each image, in that order.
        slices: as asked, of places in `units`.
        reviewed: whether the truth is a reviewer's.
        rejected: images that a reviewer rejected, which says nothing about their labels.
    """

    found: Compared
    units: list[dict[str, Any]]
    slices: list[Slice]
    reviewed: bool
    rejected: int = 0


def ontology_of(run: RunDir) -> Ontology:
    """That of a run of autolabel."""
    return Ontology.model_validate(run.read_record()["config"]["detector"]["ontology"])


def is_reviewed(run: RunDir, truth: str | RunPath) -> list[RunPath] | None:
    """The files of reviewed rows that `truth` stands for; None: it is another kind of truth.

    It may be the word `reviewed`, the directory of a run, its folder `reviewed`, or a Parquet file.
    Raises ConfigError if there is no such file.
    """
    path = run_path(truth)
    if str(truth) == REVIEWED_TRUTH and not path.exists():
        path = run.path
    if path.suffix.lower() == ".parquet":
        return [path]
    if not path.is_dir():
        return None
    folder = RunDir(path).reviewed if (path / "run.json").is_file() else path
    files = listed(folder, "*.parquet")
    if not files:
        raise ConfigError(
            f"{folder} holds no reviewed rows", "nightjar review export and import, or a COCO JSON"
        )
    return files


def reviewed_objects(files: Sequence[RunPath]) -> tuple[dict[int, list[dict[str, Any]]], int]:
    """Row id -> the true labels of an image, and how many images were rejected.

    Raises ConfigError where a file holds no reviewed images.
    """
    try:
        table = last_answers(files)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ConfigError(
            f"{files[0].parent} holds no reviewed rows: {error}",
            f"they are Parquet with the columns {', '.join(REVIEWED.names)}",
        ) from None
    rows = table.select(["row_id", "verdict", "instances"]).to_pylist()
    found = {row["row_id"]: row["instances"] for row in rows if row["instances"] is not None}
    if not found:
        raise ConfigError(
            f"{files[0].parent} holds no reviewed image: {table.num_rows} rows, none with labels",
            "truth of labels goes with a run of autolabel",
        )
    return found, sum(row["verdict"] == "reject" for row in rows)


def labelled(
    run: RunDir, truth: str | RunPath, names: Sequence[str], metadata: Path | None = None
) -> Labelled:
    """Match a run with its truth.

    Args:
        run: of autolabel, with finished rows.
        truth: a COCO JSON (see `pipelines.evaluation.scores.score_run`), or what `is_reviewed`
        takes. names, metadata: see `pipelines.truth.slices.Slicing`.

    Raises ConfigError if the truth cannot be read, or is of none of the run's images.
    """
    if "instances" not in schema_of(run).names:
        raise ConfigError(f"{run.path} holds no labels", "it is no run of autolabel")
    slicing = Slicing(run, names, metadata)
    files = is_reviewed(run, truth)
    made = (
        _of_coco(run, Path(str(truth)), slicing)
        if files is None
        else _of_review(run, files, slicing)
    )
    if not made.units:
        raise ConfigError(
            f"no image of {truth} is in {run.path}",
            "file_name in a COCO JSON is the end of an image's URI; reviewed rows have its row_id",
        )
    return made


def _of_coco(run: RunDir, truth: Path, slicing: Slicing) -> Labelled:
    found = compared(run, truth, ontology_of(run))
    images = found.truth.dataset["images"]
    images.sort(key=lambda image: image["id"])
    names = {image["file_name"]: image["id"] for image in images}
    rows = {
        number: row
        for row in _rows(run, (*_UNIT, *slicing.columns))
        if (number := lookup(names, row["uri"])) is not None
    }
    units = [_unit(rows[image["id"]], slicing) for image in images]
    return Labelled(found, units, slicing.slices(), reviewed=False)


def _of_review(run: RunDir, files: Sequence[RunPath], slicing: Slicing) -> Labelled:
    objects, rejected = reviewed_objects(files)
    ontology = ontology_of(run)
    ids = {name: number for number, name in enumerate(ontology.classes, 1)}
    dataset: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    units: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    wanted = {*_UNIT, "width", "height", "instances", *slicing.columns}
    for row in _rows(run, tuple(wanted)):
        true = objects.get(row["row_id"])
        if true is None:
            continue
        number = len(units) + 1
        size = {"width": row["width"], "height": row["height"]}
        dataset["images"].append({"id": number, "file_name": row["uri"], **size})
        for one in true:
            if one["class"] in ids:  # the reviewed run may have asked for more
                made = _annotation(number, ids[one["class"]], one)
                dataset["annotations"].append(made | {"id": len(dataset["annotations"]) + 1})
        results += [result_of(number, ids[one["class"]], one) for one in row["instances"] or []]
        units.append(_unit(row, slicing))
    missing = len(objects) - len(units)
    found = Compared(indexed(dataset), results, ids, _named(files, ontology), missing)
    slices = slicing.slices() if units else []
    return Labelled(found, units, slices, reviewed=True, rejected=rejected)


def _named(files: Sequence[RunPath], ontology: Ontology) -> frozenset[str]:
    """Classes that the reviewed run had asked for too; without its run.json all."""
    reviewed = RunDir(files[0].parent.parent)
    if not reviewed.record.is_file():
        return frozenset(ontology.classes)
    return frozenset(ontology.classes) & frozenset(ontology_of(reviewed).classes)


def _annotation(image: int, category: int, one: Mapping[str, Any]) -> dict[str, Any]:
    """An object as COCO has it. Without a mask its area is that of its box, as `scoring` does."""
    x0, y0, x1, y1 = one["box"]
    box = [x0, y0, x1 - x0, y1 - y0]
    made = {"image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
    made["area"] = box[2] * box[3]
    return made | ({"segmentation": one["mask"]} if one["mask"] else {})


def _unit(row: Mapping[str, Any], slicing: Slicing) -> dict[str, Any]:
    slicing.add(row)
    return {name: row[name] for name in _UNIT}


def _rows(run: RunDir, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in iter_rows(run, tuple(dict.fromkeys(columns))):
        for start in range(0, batch.num_rows, _ROWS):
            yield from batch.slice(start, _ROWS).to_pylist()


class TrueObjects:
    """The objects of any row of a run, one at a time; holds the truth, not the run."""

    def __init__(self, run: RunDir, truth: str | RunPath) -> None:
        """See `labelled`; raises the same."""
        files = is_reviewed(run, truth)
        ontology = ontology_of(run)
        self._names: dict[str, int] = {}
        self._objects: dict[int, list[Thing]] = {}  # by row id, or by place in the COCO JSON
        self._by_id = files is not None
        #: of the ontology, those that the truth speaks of
        self.classes = (
            _named(files, ontology) if files else self._read_coco(Path(str(truth)), ontology)
        )
        if files:
            self._objects = {
                row_id: [Thing(one["class"], tuple(one["box"])) for one in true]
                for row_id, true in reviewed_objects(files)[0].items()
            }

    def _read_coco(self, path: Path, ontology: Ontology) -> frozenset[str]:
        read = read_coco(path, ontology)
        names = {number: name for name, number in read["ids"].items()}
        places = {image["id"]: place for place, image in enumerate(read["images"])}
        self._names = {image["file_name"]: places[image["id"]] for image in read["images"]}
        self._objects = {place: [] for place in places.values()}
        for one in read["annotations"]:
            x, y, width, height = one["bbox"]
            crowd = bool(one["iscrowd"])
            thing = Thing(names[one["category_id"]], (x, y, x + width, y + height), crowd=crowd)
            if one["image_id"] in places:
                self._objects[places[one["image_id"]]].append(thing)
        return frozenset(names[number] for number in read["named"])

    def of(self, row: Mapping[str, Any]) -> list[Thing] | None:
        """Those of an image; None where the truth does not know it. `row`: row_id and uri."""
        key = row["row_id"] if self._by_id else lookup(self._names, row["uri"])
        return None if key is None else self._objects.get(key)
