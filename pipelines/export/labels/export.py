"""Export a labelling run as COCO, YOLO, Pascal VOC or JSON lines, streamed.

Reviewers' answers (RUN/reviewed) override the labels of the run, so that a deleted label does not
return through an export. See `ExportConfig.reviewed`.

The writers are our own, because supervision's converters hold a whole dataset in memory. The tests
read the files with supervision, pycocotools, FiftyOne and ultralytics.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from pipelines.errors import ConfigError, RunNotFound, SourceUnavailable
from pipelines.export.labels.formats import LINKED, PICTURE_FOLDERS, WRITERS
from pipelines.export.labels.image import LabelledImage, Target
from pipelines.export.labels.names import NamesBelow, names_of, why_nameless
from pipelines.export.labels.pictures import (
    BATCH,
    NamedPictures,
    NoPictures,
    PictureFolder,
    Pictures,
    loadable,
)
from pipelines.export.labels.selection import Chosen, ExportConfig, check_columns, chosen
from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import RowToFetch
from pipelines.runs.shards import open_shard
from pipelines.runs.store import Record
from pipelines.storage.output_errors import output_errors

OnRows = Callable[[int, int], None]  #: (rows done, total)

#: Images without a picture that the summary names; the counts have all.
_NAMED = 10


@dataclass
class ExportSummary:
    """Counts of an export.

    Attributes:
        images, labels: written.
        reviewed: verdict -> images with a reviewer's labels.
        left_out: outcome or other reason -> images that were not written.
        pictures: `linked`, `copied`, `written` (fetched again as the run saw them), `turned` (only
            named, but EXIF says how it must be turned) -> images.
        missing: failure kind or other reason -> images not written for want of a picture.
        problems: (uri, page, message) of the first images in `missing`.
        bytes: of the sources of the pictures to copy (`survey` only).
    """

    images: int = 0
    labels: int = 0
    reviewed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    pictures: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, int, str]] = field(default_factory=list)
    bytes: int = 0

    def count(self, image: LabelledImage) -> None:
        """Count an exported image."""
        self.images += 1
        self.labels += len(image.labels)
        if image.reviewed:
            self.reviewed[image.reviewed] += 1


def export_run(
    run: RunDir,
    out: Path,
    config: ExportConfig,
    classes: Sequence[str],
    on_rows: OnRows = lambda done, total: None,
) -> ExportSummary:
    """Write the labels of a run into the directory `out`, completely or not at all.

    Every label has its picture: an image whose picture cannot be read is not written, and is
    counted in `missing`. Only COCO and JSON lines without `copy_images` have no pictures.

    Args:
        run: its shards are read one by one.
        out: must not exist, or be empty.
        config: format and selection.
        classes: of the ontology, in its order. The position of a class is its id (from 0 for YOLO,
            from 1 for COCO).
        on_rows: called after every 32 rows.

    Raises:
        ConfigError: `out` is not empty, the run has no labels, a class is not in `classes`, an
            option does not fit the format, `relative_to` does not hold all images, or `reviewed`
            is `only` and there are no reviewed images.
        SourceUnavailable: no picture can be read.
        OutputUnwritable.
    """
    _check(run, out, config)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with output_errors(out):
            partial.mkdir(parents=True)
            summary = _written(run, partial, config, classes, on_rows)
            partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return summary


def survey(run: RunDir, out: Path, config: ExportConfig, classes: Sequence[str]) -> ExportSummary:
    """What `export_run` would write; reads no more than headers of local pictures. Raises as it."""
    _check(run, out, config)
    summary = ExportSummary()
    for row, image, left_out in chosen(run, config, classes):
        if image is None:
            summary.left_out[left_out or ""] += 1
        elif why := _nameless(row, config):
            summary.missing[why] += 1
        else:
            summary.count(image)
            _count_picture(row, config, summary)
    return summary


def _nameless(row: RowToFetch, config: ExportConfig) -> str | None:
    if _has_pictures(config) or config.format != "coco":
        return None
    return why_nameless(row["uri"], row["page"], row["kind"])


def _count_picture(row: RowToFetch, config: ExportConfig, summary: ExportSummary) -> None:
    """Count how the picture of a row would come into the export."""
    if not _has_pictures(config):
        return
    local = loadable(row) is not None
    how = ("copied" if config.copy_images else "linked") if local else "written"
    summary.pictures[how] += 1
    summary.bytes += 0 if how == "linked" else row["bytes"] or 0


def _written(
    run: RunDir, out: Path, config: ExportConfig, classes: Sequence[str], on_rows: OnRows
) -> ExportSummary:
    summary = ExportSummary()
    record = _record(run)
    target = Target(
        out,
        tuple(classes),
        run=run.path.name,
        created=str(record.get("created") or ""),
        masks=config.masks,
        whole=config.copy_images,
    )
    pictures = _pictures(run, out, config, record)
    total = sum(open_shard(path).metadata.num_rows for path in run.shard_files())
    rows, done = chosen(run, config, classes), 0
    with WRITERS[config.format](target) as writer:
        while batch := list(islice(rows, BATCH)):
            for image in _with_pictures(batch, pictures, summary):
                summary.count(image)
                writer.write(replace(image, number=summary.images))
            done += len(batch)
            on_rows(done, total)
    if _has_pictures(config) and summary.missing and not summary.images:
        first = ": ".join(map(str, summary.problems[0])) if summary.problems else ""
        raise SourceUnavailable(
            f"none of {summary.missing.total():,} pictures can be read, beginning with {first}",
            "restore the source, or export --format coco, which only names the pictures",
        )
    return summary


def _with_pictures(
    batch: Sequence[Chosen], pictures: Pictures, summary: ExportSummary
) -> Iterator[LabelledImage]:
    """The images of a batch that have a picture; counts the others."""
    images = [(row, image) for row, image, _ in batch if image is not None]
    summary.left_out.update(one.left_out for one in batch if one.left_out)
    found = pictures([row for row, _ in images])
    for (row, image), picture in zip(images, found, strict=True):
        if picture.why:
            summary.missing[picture.why] += 1
            if picture.message and len(summary.problems) < _NAMED:
                message = f"{picture.why} {picture.message}"
                summary.problems.append((row["uri"], row["page"], message))
            continue
        summary.pictures[picture.how] += 1
        yield replace(image, file=picture.file)


def _has_pictures(config: ExportConfig) -> bool:
    return config.copy_images or config.format in LINKED


def _pictures(run: RunDir, out: Path, config: ExportConfig, record: Record) -> Pictures:
    if _has_pictures(config):
        folder = out / PICTURE_FOLDERS[config.format]
        folder.mkdir()
        return PictureFolder(run, folder, "copy" if config.copy_images else LINKED[config.format])
    return NamedPictures(_names(run, config, record)) if config.format == "coco" else NoPictures()


def _names(run: RunDir, config: ExportConfig, record: Record) -> NamesBelow:
    source = record.get("config", {}).get("source", {}).get("path")
    return names_of(run, source, config.relative_to)


def _record(run: RunDir) -> Record:
    with suppress(RunNotFound):  # shards alone can be exported
        return run.read_record()
    return {}


def _check(run: RunDir, out: Path, config: ExportConfig) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists already", "name another directory, or remove this one")
    of_coco = {"--masks": config.masks != "rle", "--relative-to": config.relative_to is not None}
    wrong = [name for name, given in of_coco.items() if given and config.format != "coco"]
    if wrong:
        raise ConfigError(f"{wrong[0]} is for --format coco", f"leave out {wrong[0]}")
    if config.copy_images and config.relative_to is not None:
        raise ConfigError(
            "with --copy-images, names are relative to OUT/images", "leave out --relative-to"
        )
    check_columns(run)
