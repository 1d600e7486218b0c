"""What each command does, without the parsing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from actors.ontology import Ontology
from jobs.commands.report import after_run
from jobs.console.estimate import print_estimate
from jobs.console.live import RunView
from jobs.console.tables import print_run, print_scores
from pipelines.config import JobConfig
from pipelines.config_files import validated
from pipelines.errors import ConfigError, NightjarError
from pipelines.job import MODULES, Job, find_job, load_job
from pipelines.run import execute, open_run, run_dir_of
from pipelines.run import plan as freeze_plan
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import find_row, owed, totals
from pipelines.sources.manifest import ManifestSummary, load_summary


def plan(console: Console, path: Path, overrides: Sequence[str], *, new: bool, sample: int) -> None:
    """`nightjar plan`."""
    job, config = load_job(path, overrides)
    run = run_dir_of(config, new=new)
    with run.locked():
        open_run(job, config, run)
        summary = _planned(console, job, config, run)
        left = sum(rows.num_rows for _, rows in owed(run))
        console.print(f"{summary.pages - left:,} {job.unit}s are done already, {left:,} to do")
        if left and sample:
            print_estimate(console, job, config, run, left, sample)


def _planned(console: Console, job: Job, config: JobConfig, run: RunDir) -> ManifestSummary:
    frozen = load_summary(run.manifest)
    if frozen:
        console.print(f"manifest of {frozen.listed_at} ({run.manifest})")
        _print_manifest(console, frozen, job.unit)
        return frozen
    with console.status("listing the source") as status:
        summary = freeze_plan(
            config,
            run,
            lambda files, pages, size: status.update(
                f"listing the source: {files:,} files, {pages:,} {job.unit}s, {size / 1e6:,.0f} MB"
            ),
        )
    _print_manifest(console, summary, job.unit)
    return summary


def _print_manifest(console: Console, summary: ManifestSummary, unit: str) -> None:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(summary.kinds.items()))
    console.print(
        f"{summary.files:,} files, {summary.pages:,} {unit}s, "
        f"{summary.bytes / 1e6:,.1f} MB ({kinds})"
    )
    notes = {
        "files skipped: no document or image": summary.skipped,
        "pages listed twice, taken once": summary.duplicates,
        **{f"names passed over: {why}": n for why, n in summary.passed_over.items()},
        **{f"files that cannot be opened: {why}": n for why, n in summary.uncounted.items()},
    }
    for note, count in notes.items():
        if count:
            console.print(f"  {count:,} {note}")


def run(console: Console, path: Path, overrides: Sequence[str], *, new: bool, report: bool) -> None:
    """`nightjar run`."""
    job, config = load_job(path, overrides)
    run = run_dir_of(config, new=new)
    with run.locked():
        open_run(job, config, run)
        summary = _planned(console, job, config, run)
        with RunView(console, job.unit) as view:
            session = execute(job, config, run, summary.pages, view)
        if "rows" not in session:
            console.print("[bold]Everything is done already.[/] Nothing was started.")
        print_run(console, run, job.unit, summary.pages, totals(run))
        _print_truth(console, run)
    if report:
        after_run(console, run, fresh="rows" in session)


def _print_truth(console: Console, run: RunDir) -> None:
    """How the labels compare with the truth that the config names, if it names one."""
    config = run.read_record()["config"]
    if not config.get("truth"):
        return
    from pipelines.evaluation.scores import score_run

    ontology = Ontology.model_validate(config["detector"]["ontology"])
    print_scores(console, score_run(run, Path(config["truth"]), ontology), config["truth"])


def show(console: Console, run_dir: str | Path, row_id: int | None, image: Path | None) -> None:
    """`nightjar show`."""
    if image is not None and row_id is None:
        raise ConfigError("--image draws one row", "name it with --row ID")
    run = RunDir(run_dir)
    record = run.read_record()
    job = find_job(record["job"])
    summary = load_summary(run.manifest)
    if row_id is None:
        print_run(console, run, job.unit, summary.pages if summary else 0, totals(run))
        _print_truth(console, run)
        return
    row = find_row(run, row_id)
    if row is None:
        raise NightjarError(
            f"{run_dir} has no finished row {row_id}",
            "row ids are in the column row_id of its shards; one that is not there is still owed",
        )
    if image is None:
        console.print_json(json.dumps(row, default=str))
        return
    from jobs.console.overlay import draw_row

    draw_row(run, row, image)
    console.print(f"{row['uri']} page {row['page']}: {image}")


def export(
    console: Console,
    run_dir: str | Path,
    out: Path,
    form: str,
    *,
    everything: bool,
    candidates: bool,
    reviewed: str,
) -> None:
    """`nightjar export`."""
    from pipelines.export.labels.export import ExportConfig, export_run

    run = RunDir(run_dir)
    record = run.read_record()
    if record["job"] != "autolabel":
        raise ConfigError(f"{run_dir} is a run of {record['job']}", "export takes autolabel runs")
    settings: dict[str, Any] = {"format": form, "images": "all" if everything else "accepted"}
    settings |= {"candidates": candidates, "reviewed": reviewed}
    chosen = validated(ExportConfig, settings, "export")
    classes = list(record["config"]["detector"]["ontology"]["classes"])
    with console.status(f"writing {form}"):
        summary = export_run(run, out, chosen, classes)
    left_out = ", ".join(f"{count:,} {name}" for name, count in summary.left_out.items())
    console.print(f"{summary.images:,} images, {summary.labels:,} labels: {out}")
    if summary.reviewed:
        said = ", ".join(f"{count:,} {name}" for name, count in sorted(summary.reviewed.items()))
        console.print(f"with the labels of a reviewer: {said}")
    if left_out:
        console.print(f"left out: {left_out}")


def check(console: Console, path: Path, overrides: Sequence[str]) -> None:
    """`nightjar config check`."""
    job, config = load_job(path, overrides)
    table = Table("stage", "reads", "writes", "where", title=f"{path}: {job.name}", box=None)
    for line in job.flow(config).explain():
        table.add_row(*line)
    console.print(table)


def schema(job: str | None) -> None:
    """`nightjar config schema`. With no job: one schema that accepts any of them."""
    schemas = [find_job(name).config.model_json_schema() for name in ([job] if job else MODULES)]
    out = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    json.dump(out, sys.stdout, indent=2)
    sys.stdout.write("\n")
