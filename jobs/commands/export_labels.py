"""`nightjar export` of an autolabel run: labels as COCO, YOLO, Pascal VOC or JSON lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from jobs.console.live import counted, say
from jobs.console.terminal import one_line
from pipelines.config_files import validated
from pipelines.errors import ConfigError
from pipelines.export.labels.export import ExportSummary, export_run, survey
from pipelines.export.labels.selection import ExportConfig
from pipelines.runs.directory import RunDir

_HOW = {
    "linked": "linked",
    "copied": "copied",
    "written": "fetched again and written as the run saw them",
}


def export(
    console: Console,
    run_dir: str | Path,
    out: Path,
    form: str,
    *,
    everything: bool,
    candidates: bool,
    reviewed: str,
    dry_run: bool = False,
    **of_pictures: Any,
) -> None:
    """`nightjar export`. `of_pictures`: `masks`, `copy_images`, `relative_to` of ExportConfig."""
    run = RunDir(run_dir)
    record = run.read_record()
    if record["job"] != "autolabel":
        raise ConfigError(
            f"{run_dir} is a run of {record['job']}", "labels can be exported from autolabel runs"
        )
    settings: dict[str, Any] = {"format": form, "images": "all" if everything else "accepted"}
    settings |= {"candidates": candidates, "reviewed": reviewed, **of_pictures}
    chosen = validated(ExportConfig, settings, "export")
    classes = list(record["config"]["detector"]["ontology"]["classes"])
    if dry_run:
        summary = survey(run, out, chosen, classes)
    else:
        with counted(console, "rows", f"writing {form}") as show:
            summary = export_run(run, out, chosen, classes, show)
    _report(console, summary, out)
    if dry_run:
        if summary.bytes:
            say(console, f"{summary.bytes / 1e6:,.1f} MB of sources would be read")
        say(console, "nothing was written (--dry-run)")


def _report(console: Console, summary: ExportSummary, out: Path) -> None:
    say(console, f"{summary.images:,} images, {summary.labels:,} labels: {out}")
    if summary.reviewed:
        say(console, f"with a reviewer's labels: {_counts(summary.reviewed)}")
    how = Counter({_HOW[name]: n for name, n in summary.pictures.items() if name in _HOW})
    if how:
        say(console, f"pictures: {_counts(how)}")
    if turned := summary.pictures["turned"]:
        say(
            console,
            f"turned by EXIF: {turned:,}; their sizes and labels are those of the upright picture "
            "(--copy-images writes it)",
        )
    if summary.left_out:
        say(console, f"left out: {_counts(summary.left_out)}")
    if summary.missing:
        say(console, f"left out for want of a picture: {_counts(summary.missing)}")
    for uri, page, message in summary.problems:
        say(console, f"  {one_line(uri)}, page {page}: {one_line(message)}")
    more = summary.missing.total() - len(summary.problems)
    if more and summary.problems:
        say(console, f"  and {more:,} more")
    if summary.missing and not how:
        say(console, "--copy-images writes these out as pictures")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
