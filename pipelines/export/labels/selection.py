"""The images of a run that an export has, with the labels that count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, cast

from pydantic import Field

from actors.contract import Settings
from pipelines.decisions.finished import FinishedImage
from pipelines.decisions.triage import ImageOutcome, Label, Reason
from pipelines.errors import ConfigError
from pipelines.export.labels.image import LabelledImage, Masks
from pipelines.review.answers import ReviewAnswer, ReviewAnswers
from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import RowToFetch
from pipelines.runs.shards import iter_rows, open_shard
from pipelines.sources.manifest import MANIFEST

COLUMNS = (*MANIFEST.names, "width", "height", "outcome", "instances")

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
    masks: Masks = Field(
        "rle",
        description="coco: masks as compressed RLE, as polygons with one part each, or none",
    )
    copy_images: bool = Field(
        False,
        description="copy every picture into the export, upright; yolo and voc link local ones "
        "otherwise",
    )
    relative_to: str | None = Field(
        None, description="coco without copies: folder or prefix that `file_name` is relative to"
    )


class Chosen(NamedTuple):
    """An image of the export, and its row. `left_out`: why it is not exported, else None."""

    row: RowToFetch
    image: LabelledImage | None
    left_out: str | None = None


def check_columns(run: RunDir) -> None:
    """Raise ConfigError if the rows of the run have no labels."""
    for path in run.shard_files()[:1]:
        lacking = [name for name in COLUMNS if name not in open_shard(path).schema_arrow.names]
        if lacking:
            raise ConfigError(
                f"{run.path} has no labels: its rows lack {', '.join(lacking)}",
                "name a run of the job autolabel",
            )


def chosen(run: RunDir, config: ExportConfig, classes: Sequence[str]) -> Iterator[Chosen]:
    """Every row of the run, in stored order.

    Raises ConfigError: `reviewed` is `only` and there are no reviewed images, or a class is not in
    `classes`.
    """
    answers = _answers(run, config)
    for row in _rows(run):
        answer = answers.of(row["row_id"]) if answers else None
        source = _source(row)
        if why := _why_not(row, answer, config):
            yield Chosen(source, None, why)
            continue
        labels = answer.truth if answer else _labels(row["instances"] or (), config)
        image = _image(row, answer.verdict if answer else None, labels)
        _check_classes(image, classes)
        yield Chosen(source, image)


def _source(row: FinishedImage) -> RowToFetch:
    return {
        "row_id": row["row_id"],
        "uri": row["uri"],
        "page": row["page"],
        "pages": row["pages"],
        "etag": row["etag"],
        "bytes": row["bytes"],
        "kind": row["kind"],
        "width": row["width"],
        "height": row["height"],
    }


def _image(row: FinishedImage, reviewed: str | None, labels: list[Label]) -> LabelledImage:
    return LabelledImage(
        number=0,  # counted when it is written
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
                f"row {image.row_id} ({image.uri}, page {image.page}) has the class "
                f"{label['class']!r}, which is not one of {', '.join(classes)}",
                "export with the ontology of the run",
            )
