"""Export a labelling run as COCO, YOLO, Pascal VOC or JSON lines, streamed.

Reviewers' answers (RUN/reviewed) override the labels of the run, so that a deleted label does not
return through an export. See `ExportConfig.reviewed`.

The writers are our own, because supervision's converters hold a whole dataset in memory. The tests
read the files with supervision and pycocotools.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from pydantic import Field

from actors.contract import Settings
from pipelines.decisions.finished import FinishedImage
from pipelines.decisions.triage import ImageOutcome, Label, Reason
from pipelines.errors import ConfigError
from pipelines.export.labels.formats import WRITERS
from pipelines.export.labels.image import LabelledImage
from pipelines.review.answers import ReviewAnswer, ReviewAnswers
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows, open_shard
from pipelines.storage.output_errors import output_errors

COLUMNS = ("row_id", "uri", "page", "width", "height", "outcome", "instances")

#: Rows held as Python objects at once: 1 KB per label, so 10 MB for 40 labels per image.
SLICE = 256

EXPORTED = {
    "accepted": frozenset({ImageOutcome.ACCEPTED, ImageOutcome.EMPTY}),
    "all": frozenset({ImageOutcome.ACCEPTED, ImageOutcome.EMPTY, ImageOutcome.REVIEW}),
}


class ExportConfig(Settings):
    """Settings of an export. Images without objects are always included."""

    format: Literal["coco", "yolo", "yolo-seg", "voc", "jsonl"] = Field(
        description="coco: boxes and masks; yolo: boxes; yolo-seg: outlines of masks; voc: boxes; "
        "jsonl: all fields of a label"
    )
    images: Literal["accepted", "all"] = Field(
        "accepted", description="all: also images that wait for review; never failed ones"
    )
    candidates: bool = Field(
        False,
        description="also candidates below the threshold of their class; not for reviewed images, "
        "where correct candidates are labels already",
    )
    reviewed: Literal["apply", "only", "ignore"] = Field(
        "apply",
        description="apply: images that were accepted or corrected in review get the reviewer's "
        "labels, whatever their outcome; rejected images are left out. only: reviewed images "
        "alone. ignore: the run without reviews",
    )


@dataclass
class ExportSummary:
    """Counts of an export.

    Attributes:
        images, labels: written.
        reviewed: verdict -> images with a reviewer's labels.
        left_out: outcome or other reason -> images that were not written.
    """

    images: int = 0
    labels: int = 0
    reviewed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def export_run(
    run: RunDir, out: Path, config: ExportConfig, classes: Sequence[str]
) -> ExportSummary:
    """Write the labels of a run into the directory `out`, completely or not at all.

    Args:
        run: its shards are read one by one.
        out: must not exist, or be empty.
        config: format and selection.
        classes: of the ontology, in its order. The position of a class is its id (from 0 for YOLO,
            from 1 for COCO).

    Raises:
        ConfigError: `out` is not empty, the run has no labels, a class is not in `classes`, or
            `reviewed` is `only` and there are no reviewed images.
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
        raise ConfigError(f"{out} exists already", "name another directory, or remove this one")
    for path in run.shard_files()[:1]:
        lacking = [name for name in COLUMNS if name not in open_shard(path).schema_arrow.names]
        if lacking:
            raise ConfigError(
                f"{run.path} has no labels: its rows lack {', '.join(lacking)}",
                "name a run of the job autolabel",
            )


def _selected(run: RunDir, config: ExportConfig, summary: ExportSummary) -> Iterator[LabelledImage]:
    answers = _answers(run, config)
    for row in _rows(run):
        answer = answers.of(row["row_id"]) if answers else None
        if why := _why_not(row, answer, config):
            summary.left_out[why] += 1
            continue
        if answer:
            summary.reviewed[answer.verdict] += 1
            yield _image(row, summary.images + 1, answer.verdict, answer.truth)
        else:
            labels = _labels(row["instances"] or (), config)
            yield _image(row, summary.images + 1, None, labels)


def _image(
    row: FinishedImage, number: int, reviewed: str | None, labels: list[Label]
) -> LabelledImage:
    return LabelledImage(
        number=number,
        row_id=row["row_id"],
        uri=row["uri"],
        page=row["page"],
        width=cast(int, row["width"]),  # null only for images that could not be fetched
        height=cast(int, row["height"]),
        outcome=row["outcome"],
        reviewed=reviewed,
        labels=labels,
    )


def _answers(run: RunDir, config: ExportConfig) -> ReviewAnswers | None:
    if config.reviewed == "ignore":
        return None
    answers = ReviewAnswers(run, "instances")
    if config.reviewed == "only" and not answers:
        raise ConfigError(
            f"{run.path} has no reviewed images",
            "import answers first: nightjar review import, or nightjar curate pull",
        )
    return answers


def _why_not(row: FinishedImage, answer: ReviewAnswer | None, config: ExportConfig) -> str | None:
    """The reason for leaving out an image; None for an exported image."""
    if answer is None and config.reviewed == "only":
        return "not reviewed"
    if answer is None:
        return None if row["outcome"] in EXPORTED[config.images] else row["outcome"]
    if answer.verdict == "reject":
        return "rejected in review"
    # The run could not read it, and a person labelled it later. REVIEWED has no size.
    return None if row["width"] and row["height"] else "reviewed, but of unknown size"


def _labels(found: Sequence[Label], config: ExportConfig) -> list[Label]:
    """The labels to export of an image without an answer."""
    return [
        label
        for label in found
        if config.candidates or Reason.BELOW_THRESHOLD not in label["reasons"]
    ]


def _rows(run: RunDir) -> Iterator[FinishedImage]:
    for batch in iter_rows(run, COLUMNS):
        for start in range(0, batch.num_rows, SLICE):
            yield from batch.slice(start, SLICE).to_pylist()


def _check_classes(image: LabelledImage, classes: Sequence[str]) -> None:
    for label in image.labels:
        if label["class"] not in classes:
            raise ConfigError(
                f"row {image.row_id} has the class {label['class']!r}, which is not one of "
                f"{', '.join(classes)}",
                "export with the ontology of the run",
            )
