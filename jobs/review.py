"""`nightjar review`: what waits for people goes out as a folder, their answers come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from jobs.view import Rates, duration
from pipelines.review import export_review, import_review
from pipelines.review_export import OnItems
from pipelines.rundir import RunDir

_LOG_EVERY_S = 10.0


def export(
    console: Console, run_dir: Path, out: Path, limit: int | None, *, failed: bool, again: bool
) -> None:
    """`nightjar review export`."""
    with _shown(console) as on_items:
        summary = export_review(
            RunDir(run_dir), out, limit=limit, failed=failed, again=again, on_items=on_items
        )
    table = _table(f"{summary.items:,} items to review: {out}")
    table.add_row("with a picture", f"{summary.images:,}")
    for kind, count in summary.missing.most_common():
        table.add_row(f"without: {kind}", f"{count:,}")
    if summary.beyond:
        table.add_row("beyond the limit", f"{summary.beyond:,}")
    if summary.reviewed:
        table.add_row("reviewed before, left out", f"{summary.reviewed:,}")
    console.print(table)
    if summary.items:
        console.print(f"Fill {out}/items.jsonl (README.txt there says how); then:", markup=False)
        console.print(f"  nightjar review import {run_dir} {out}", markup=False, soft_wrap=True)


def import_(console: Console, run_dir: Path, folder: Path, reviewer: str | None) -> None:
    """`nightjar review import`."""
    summary = import_review(RunDir(run_dir), folder, reviewer)
    table = _table(
        f"{folder}: {summary.verdicts.total():,} of "
        f"{summary.verdicts.total() + summary.waiting:,} items reviewed"
    )
    for verdict in ("accept", "correct", "reject"):
        table.add_row(verdict, f"{summary.verdicts[verdict]:,}")
    table.add_row("not reviewed yet", f"{summary.waiting:,}")
    table.add_section()
    table.add_row("new", f"{summary.new:,}")
    table.add_row("replace an earlier answer", f"{summary.replaced:,}")
    table.add_row("stand already", f"{summary.unchanged:,}")
    console.print(table)
    where = f"written: {summary.file}" if summary.file else "nothing new, nothing was written"
    console.print(where, markup=False, soft_wrap=True)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("items")
    table.add_column("", justify="right")
    return table


@contextmanager
def _shown(console: Console) -> Iterator[OnItems]:
    """A bar with rate and ETA, or a line every ten seconds without a terminal."""
    rates, logged = Rates(), time.monotonic()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("review", total=None, speed="looking for what waits")
        rates.of("items", 0)

        def show(done: int, total: int) -> None:
            nonlocal logged
            rate = rates.of("items", done)
            eta = f", ETA {duration((total - done) / rate)}" if rate else ""
            speed = f"{rate:.1f} items/s{eta}"
            bar.update(task, completed=done, total=total, speed=speed)
            if not console.is_terminal and time.monotonic() - logged >= _LOG_EVERY_S:
                logged = time.monotonic()
                console.print(f"{done:,} of {total:,} items, {speed}", highlight=False)

        yield show
