"""`nightjar plan`, `run` and `show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from rich.console import Console

from jobs.commands.report import after_run
from jobs.console.estimate import print_estimate
from jobs.console.live import RunView
from jobs.console.signals import stop_on_signals
from jobs.console.tables import print_run, print_scores, retryable
from jobs.console.terminal import begun, one_line
from pipelines.decisions.finished import AnyRow
from pipelines.errors import ConfigError, NightjarError
from pipelines.job import find_job, load_job
from pipelines.run import Run
from pipelines.runs.directory import RunDir
from pipelines.runs.retrying import failure_kinds
from pipelines.runs.shards import find_row, totals
from pipelines.sources.manifest import ManifestSummary, load_summary
from pipelines.storage.paths import run_path
from pipelines.truth.coco_file import check_is_there

#: The overrides of `nightjar run --accept-failures`.
NO_LIMITS = ("limits.same_failure=null", "limits.max_failed_share=null")


def plan(console: Console, path: Path, overrides: Sequence[str], *, new: bool, sample: int) -> None:
    """`nightjar plan`."""
    with Run.from_file(path, overrides, new=new).opened() as run:
        summary, unit = _planned(console, run), run.job.unit
        left = run.owed()
        console.print(f"{summary.pages - left:,} {unit}s are done, {left:,} to do")
        if left and sample:
            print_estimate(console, run, left, sample)


def measure(
    console: Console,
    path: Path,
    overrides: Sequence[str],
    new: bool,
    sample: int,
    size: str | None,
    seconds: float,
) -> None:
    """`nightjar plan --measure`."""
    from jobs.commands import measure as batches

    if size is not None:
        job, config = load_job(path, overrides)
        images = batches.rendered(size, sample)
        batches.measure(console, job.flow(config), config, images, seconds)
        return
    with Run.from_file(path, overrides, new=new).opened() as run:
        _planned(console, run)
        images = batches.images_of(run, sample)
        batches.measure(console, run.flow(), run.config, images, seconds)


def run(
    console: Console,
    path: Path,
    overrides: Sequence[str],
    *,
    new: bool,
    report: bool,
    retry: Sequence[str] = (),
    check_shards: bool = False,
) -> None:
    """`nightjar run`."""
    kinds = failure_kinds(retry)
    stop = stop_on_signals()
    with Run.from_file(path, overrides, new=new).opened() as run:
        summary, unit = _planned(console, run), run.job.unit
        with RunView(console, unit) as view:
            session = run.execute(view, stop, retry=kinds, check_shards=check_shards)
        counted = totals(run.directory)
        if session is None:
            again = f" {retryable(counted, unit)}." if counted.retryable else ""
            begun(console, "Everything is done.", f" No worker was started.{again}")
        print_run(console, run.directory, unit, summary.pages, counted)
        _print_attachments(console, summary)
        _print_truth(console, run.directory)
    if report:
        after_run(console, run.directory, fresh=session is not None)


def _planned(console: Console, run: Run) -> ManifestSummary:
    truth = getattr(run.config, "truth", None)
    if truth is not None:  # missed here, and not after a night of labelling
        check_is_there(run_path(truth))
    summary, unit = run.planned(), run.job.unit
    if summary:
        console.print(f"manifest of {summary.listed_at} ({run.directory.manifest})")
    else:
        with console.status("listing the source") as status:
            summary = run.plan(
                lambda files, pages, size: status.update(
                    f"listing the source: {files:,} files, {pages:,} {unit}s, {size / 1e6:,.0f} MB"
                )
            )
    _print_manifest(console, summary, unit)
    return summary


def _print_manifest(console: Console, summary: ManifestSummary, unit: str) -> None:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.kinds.items()))
    console.print(
        f"{summary.files:,} files, {summary.pages:,} {unit}s, "
        f"{summary.bytes / 1e6:,.1f} MB ({kinds})"
    )
    notes = {
        "files skipped: neither a document nor an image": summary.skipped,
        "pages listed twice, processed once": summary.duplicates,
        **{f"names skipped: {why}": n for why, n in summary.passed_over.items()},
        **{f"files that cannot be opened: {why}": n for why, n in summary.uncounted.items()},
    }
    for note, count in notes.items():
        if count:
            console.print(f"  {count:,} {note}")
    _print_attachments(console, summary)


def _print_attachments(console: Console, summary: ManifestSummary | None) -> None:
    if summary and (attached := summary.about_attachments()):
        console.print(f"  {attached}")


def _print_truth(console: Console, run: RunDir) -> None:
    """Print the scores of the labels, if the config names truth."""
    record = run.read_record()
    config = record["config"]
    if record["job"] != "autolabel" or not config.get("truth"):
        return
    from pipelines.evaluation.scores import scores_of
    from pipelines.truth.labels import read_beside_truth

    print_scores(console, scores_of(read_beside_truth(run, config["truth"])), config["truth"])


def show(console: Console, run_dir: str | Path, row_id: int | None, image: Path | None) -> None:
    """`nightjar show`."""
    if image is not None and row_id is None:
        raise ConfigError("--image needs a row to draw", "add --row ID")
    run = RunDir(run_dir)
    record = run.read_record()
    unit = record.get("unit") or find_job(record["job"]).unit  # old records have no unit
    summary = load_summary(run.manifest)
    if row_id is None:
        print_run(console, run, unit, summary.pages if summary else 0, totals(run))
        _print_attachments(console, summary)
        _print_truth(console, run)
        return
    row = find_row(run, row_id)
    if row is None:
        raise NightjarError(
            f"{run_dir} has no finished row {row_id}",
            "find row ids in the column row_id of the shards; a missing row has not been "
            "processed yet",
        )
    if image is None:
        console.print_json(json.dumps(row, default=str))
        return
    from jobs.console.overlay import draw_row

    draw_row(run, cast(AnyRow, row), image)
    console.print(f"{one_line(str(row['uri']))} page {row['page']}: {image}", soft_wrap=True)
