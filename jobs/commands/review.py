"""`nightjar review`: export the review queue as a folder, import the answers."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from jobs.console.fitted import FittedTable
from jobs.console.live import counted
from pipelines.review import export_review, import_review
from pipelines.runs.directory import RunDir


def export(
    console: Console,
    run_dir: str | Path,
    out: Path,
    limit: int | None,
    *,
    failed: bool,
    again: bool,
) -> None:
    """`nightjar review export`."""
    with counted(console, "items", "reading the review queue") as on_items:
        summary = export_review(
            RunDir(run_dir), out, limit=limit, failed=failed, again=again, on_items=on_items
        )
    table = _table(f"{summary.items:,} items to review: {out}")
    table.add_row("with a picture", f"{summary.images:,}")
    for kind, count in summary.missing.most_common():
        table.add_row(f"without a picture: {kind}", f"{count:,}")
    if summary.beyond:
        table.add_row("beyond --limit, left out", f"{summary.beyond:,}")
    if summary.reviewed:
        table.add_row("already reviewed, left out", f"{summary.reviewed:,}")
    console.print(table)
    if summary.items:
        console.print(f"Fill in {out}/items.jsonl (see README.txt there). Then:", markup=False)
        console.print(f"  nightjar review import {run_dir} {out}", markup=False, soft_wrap=True)


def import_(console: Console, run_dir: str | Path, folder: Path, reviewer: str | None) -> None:
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
    table.add_row("known already", f"{summary.unchanged:,}")
    console.print(table)
    where = f"written: {summary.file}" if summary.file else "nothing new; no file written"
    console.print(where, markup=False, soft_wrap=True)


def _table(title: str) -> Table:
    return FittedTable("items", "", above=title)
