"""A finished labelling run -> COCO, YOLO, Pascal VOC or JSON lines, streamed.

supervision's converters hold a whole data set in memory, so the writers here are our own; the
tests read them back with supervision and pycocotools.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from pydantic import Field

from actors.contract import Settings
from pipelines.errors import ConfigError
from pipelines.export_formats import WRITERS, LabelledImage
from pipelines.rundir import RunDir, output_errors
from pipelines.shards import iter_rows
from pipelines.triage import Outcome, Reason

COLUMNS = ("row_id", "uri", "page", "width", "height", "outcome", "instances")

#: Rows that are Python objects at once: 1 KB per label, so 10 MB at 40 labels an image.
SLICE = 256

EXPORTED = {
    "accepted": frozenset({Outcome.ACCEPTED, Outcome.EMPTY}),
    "all": frozenset({Outcome.ACCEPTED, Outcome.EMPTY, Outcome.REVIEW}),
}


class ExportConfig(Settings):
    """What is written, and how. Images without objects are always among it."""

    format: Literal["coco", "yolo", "yolo-seg", "voc", "jsonl"] = Field(
        description="coco: boxes and masks; yolo: boxes; yolo-seg: outlines of masks; voc: boxes; "
        "jsonl: everything that is known of a label"
    )
    images: Literal["accepted", "all"] = Field(
        "accepted", description="all: those that wait for review as well; failed ones never"
    )
    candidates: bool = Field(
        False, description="also candidates below the threshold of their class"
    )


@dataclass
class ExportSummary:
    """What was written, and how many images were left out, by outcome."""

    images: int = 0
    labels: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def export_run(
    run: RunDir, out: Path, config: ExportConfig, classes: Sequence[str]
) -> ExportSummary:
    """Write the labels of a run into the directory `out`, which appears whole or not at all.

    Args:
        run: its shards are read one by one.
        out: must not exist, or be empty.
        config: format and selection.
        classes: of the ontology, in its order; a class's position is its id (from 0 for YOLO, from
            1 for COCO).

    Raises:
        ConfigError: `out` holds something, the run has no labels, or a class is not in `classes`.
        OutputUnwritable.
    """
    _check(run, out)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with output_errors(out):
            partial.mkdir(parents=True)
            summary = _written(run, partial, config, classes)
            partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return summary


def _written(run: RunDir, out: Path, config: ExportConfig, classes: Sequence[str]) -> ExportSummary:
    summary = ExportSummary()
    with WRITERS[config.format](out, classes) as writer:
        for image in _selected(run, config, summary):
            _check_classes(image, classes)
            writer.write(image)
            summary.images += 1
            summary.labels += len(image.labels)
    return summary


def _check(run: RunDir, out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already", "name another directory, or remove this one")
    for path in run.shard_files()[:1]:
        lacking = [name for name in COLUMNS if name not in pq.read_schema(path).names]
        if lacking:
            raise ConfigError(
                f"{run.path} holds no labels: its rows lack {', '.join(lacking)}",
                "export takes a run of the job autolabel",
            )


def _selected(run: RunDir, config: ExportConfig, summary: ExportSummary) -> Iterator[LabelledImage]:
    wanted = EXPORTED[config.images]
    for row in _rows(run):
        if row["outcome"] not in wanted:
            summary.left_out[row["outcome"]] += 1
            continue
        labels = [
            label
            for label in row.pop("instances") or ()
            if config.candidates or Reason.BELOW_THRESHOLD not in label["reasons"]
        ]
        yield LabelledImage(number=summary.images + 1, labels=labels, **row)


def _rows(run: RunDir) -> Iterator[dict[str, Any]]:
    for batch in iter_rows(run, COLUMNS):
        for start in range(0, batch.num_rows, SLICE):
            yield from batch.slice(start, SLICE).to_pylist()


def _check_classes(image: LabelledImage, classes: Sequence[str]) -> None:
    for label in image.labels:
        if label["class"] not in classes:
            raise ConfigError(
                f"row {image.row_id} has the class {label['class']!r}, which is not one of "
                f"{', '.join(classes)}",
                "export with the ontology that the run was made with",
            )
