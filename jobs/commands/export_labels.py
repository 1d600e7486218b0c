"""`nightjar export` of an autolabel run: labels as COCO, YOLO, Pascal VOC or JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.config_files import validated
from pipelines.errors import ConfigError
from pipelines.export.labels.export import ExportConfig, export_run
from pipelines.runs.directory import RunDir


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
    run = RunDir(run_dir)
    record = run.read_record()
    if record["job"] != "autolabel":
        raise ConfigError(
            f"{run_dir} is a run of {record['job']}", "labels can be exported from autolabel runs"
        )
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
        console.print(f"with a reviewer's labels: {said}")
    if left_out:
        console.print(f"left out: {left_out}")
