"""`nightjar curate` and `nightjar app`: a run in FiftyOne, and corrections back."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jobs.console.fitted import FittedTable
from jobs.console.live import counted
from jobs.console.ports import listen_error
from jobs.console.signals import interrupt_on_signals
from pipelines.curation.curate import Curated, curate
from pipelines.curation.dataset import app_served, fiftyone, load_dataset
from pipelines.curation.media import MediaMode
from pipelines.curation.pull import Pulled
from pipelines.curation.pull import pull as pull_answers
from pipelines.curation.similarity import compute
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir

_OPENING = "opening FiftyOne"


def build(
    console: Console,
    run_dir: str | Path,
    name: str | None,
    outcomes: Collection[str],
    media: MediaMode,
    near: float | None,
) -> None:
    """`nightjar curate RUN`. `near`: see `curation.similarity.compute`; None: do not compute."""
    with counted(console, "rows", _OPENING) as on_rows:
        summary = curate(RunDir(run_dir), name, outcomes=outcomes, media=media, on_rows=on_rows)
    _print(console, summary)
    if near is not None:
        _think(console, summary.name, near)
    console.print(f"To open it: nightjar app {summary.name}", markup=False, soft_wrap=True)
    console.print(f"To pull corrections back: nightjar curate pull {summary.name}")


def _print(console: Console, summary: Curated) -> None:
    console.print(f"{summary.rows:,} rows: dataset {summary.name}", markup=False)
    table = _table("samples")
    table.add_row("new", f"{summary.new:,}")
    table.add_row("changed", f"{summary.changed:,}")
    table.add_row("unchanged", f"{summary.unchanged:,}")
    if summary.kept:
        table.add_row("changed by a person, kept", f"{summary.kept:,}")
    for kind, count in summary.missing.most_common():
        table.add_row(f"without a picture: {kind}", f"{count:,}")
    console.print(table)


def _think(console: Console, name: str, near: float) -> None:
    fo = fiftyone()
    with console.status("comparing embeddings"):
        found = compute(fo, load_dataset(fo, name), near)
    console.print(f"{found.embedded:,} embeddings compared, {found.duplicates:,} near duplicates")


def pull(console: Console, name: str, run_dir: str | Path | None, reviewer: str | None) -> None:
    """`nightjar curate pull NAME`."""
    with counted(console, "samples", _OPENING) as on_samples:
        pulled = pull_answers(name, RunDir(run_dir) if run_dir else None, reviewer, on_samples)
    for one in pulled:
        _print_pulled(console, name, one)


def _print_pulled(console: Console, name: str, pulled: Pulled) -> None:
    counts = pulled.counts
    touched = counts.verdicts.total()
    everything = touched + counts.waiting
    console.print(f"{name}: {touched:,} of {everything:,} samples reviewed", markup=False)
    table = _table("answers")
    for verdict in ("accept", "correct", "reject"):
        table.add_row(verdict, f"{counts.verdicts[verdict]:,}")
    table.add_section()
    table.add_row("new", f"{counts.new:,}")
    table.add_row("replace an earlier answer", f"{counts.replaced:,}")
    table.add_row("known already", f"{counts.unchanged:,}")
    console.print(table)
    where = f"written: {counts.file}" if counts.file else "nothing new; no file written"
    console.print(where, markup=False, soft_wrap=True)


def open_app(console: Console, name: str, port: int) -> None:
    """`nightjar app NAME`: serve until Ctrl-C or SIGTERM."""
    _check_free(port)
    fo = fiftyone()
    dataset = load_dataset(fo, name)
    interrupt_on_signals()
    try:
        with app_served(dataset, port) as address:
            console.print(f"{dataset.count():,} samples: {address}", markup=False, soft_wrap=True)
            console.print("Ctrl-C stops it.")
            while True:
                time.sleep(1)
    except KeyboardInterrupt:
        console.print(f"Stopped. To pull corrections back: nightjar curate pull {name}")


def _check_free(port: int) -> None:
    """Raises ConfigError. FiftyOne would take any server on the port for its own."""
    error = listen_error("127.0.0.1", port)
    if error:
        raise ConfigError(
            f"port {port} is in use: {error.strerror}", "choose another port with --port"
        )


def _table(unit: str) -> Table:
    return FittedTable(unit, "")
