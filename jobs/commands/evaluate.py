"""`nightjar evaluate`: accuracy of a run against truth, as tables, JSON and plots."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console

from jobs.console import evaluate_tables, evaluate_texts
from pipelines.errors import ConfigError
from pipelines.evaluation.labels import LabelEvaluation, evaluate_labels
from pipelines.evaluation.pages import TextEvaluation, evaluate_text
from pipelines.evaluation.plot import draw_labels, draw_text
from pipelines.runs.directory import RunDir
from pipelines.storage.output_errors import output_errors
from pipelines.truth.labels import read_beside_truth

VERSION = 2  # of evaluation.json


@dataclass(frozen=True)
class Asked:
    """Options of the command."""

    truth: str
    slices: Sequence[str] = ()
    metadata: Path | None = None
    out: Path | None = None
    seed: int = 0


def command(console: Console, run_dir: str | Path, asked: Asked) -> None:
    """Evaluate labels or texts, depending on the run's job."""
    run = RunDir(run_dir)
    job = run.read_record()["job"]
    if asked.out and asked.out.exists() and not asked.out.is_dir():
        raise ConfigError(f"--out {asked.out} is a file", "name a directory")
    with console.status("comparing with truth"), _folder(run, asked) as folder:
        if job == "autolabel":
            columns = ("outcome", *asked.slices)
            beside = read_beside_truth(run, asked.truth, columns, asked.metadata)
            labels = evaluate_labels(beside, asked.seed)
            _write(labels, run, job, asked, folder)
        else:
            texts = evaluate_text(run, asked.truth, asked.slices, asked.metadata, asked.seed)
            _write(texts, run, job, asked, folder)
        names = ", ".join(sorted(path.name for path in folder.iterdir() if path.suffix == ".png"))
    if job == "autolabel":
        evaluate_tables.print_labels(console, labels, run.path, asked.truth)
    else:
        evaluate_texts.print_text(console, texts, run.path, asked.truth)
    where = asked.out or run.path / "evaluation"
    console.print(f"written: {where}/evaluation.json, {names}", markup=False, soft_wrap=True)


def _folder(run: RunDir, asked: Asked) -> AbstractContextManager[Path]:
    return nullcontext(asked.out) if asked.out else run.folder("evaluation")


def _write(
    found: LabelEvaluation | TextEvaluation, run: RunDir, job: str, asked: Asked, folder: Path
) -> None:
    """Write the plots, then the JSON, which appears complete or not at all."""
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in ("pr_curves.png", "confusion.png", "slices.png", "pages.png"):
            (folder / old).unlink(missing_ok=True)
        if isinstance(found, LabelEvaluation):
            draw_labels(found, folder)
        else:
            draw_text(found, folder)
        temporary = folder / "evaluation.json.tmp"
        temporary.write_bytes(as_json(found, run, job, asked))
        temporary.replace(folder / "evaluation.json")


def as_json(found: LabelEvaluation | TextEvaluation, run: RunDir, job: str, asked: Asked) -> bytes:
    """The evaluation as JSON. Intervals are objects with value, low and high."""
    head: dict[str, Any] = {
        "version": VERSION,
        "job": job,
        "run": str(run.path),
        "truth": asked.truth,
        "metadata": str(asked.metadata) if asked.metadata else None,
        "seed": asked.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    body = TypeAdapter(type(found)).dump_python(found, mode="json")
    return TypeAdapter(dict[str, Any]).dump_json(head | body, indent=1) + b"\n"
