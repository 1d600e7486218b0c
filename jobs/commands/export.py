"""`nightjar export` of an OCR run: documents as text, Markdown, JSON lines, hOCR, ALTO or PDF."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from jobs.console.fitted import FittedTable
from jobs.console.live import counted, say
from jobs.console.terminal import one_line
from pipelines.config_files import validated
from pipelines.errors import ConfigError
from pipelines.export.documents.export import (
    SUFFIXES,
    DocumentExport,
    DocumentSummary,
    export_documents,
    survey,
)
from pipelines.export.documents.ledger import INDEX
from pipelines.runs.directory import RunDir
from pipelines.storage.objects import is_bucket
from pipelines.storage.paths import STORAGE_ENV, settings_of_environment

_WITH_TEXT = {
    "text: ocr": "text by OCR",
    "text: native": "text layer of the PDF",
    "text: vlm": "text by a vision-language model",
    "text: reviewed": "text by a reviewer",
}
_WITHOUT = {
    "text: blank": "without text: no text found",
    "text: failed": "without text: failed in the run",
    "text: review": "without text: waits for review (--include trusted)",
}


@dataclass(frozen=True)
class Asked:
    """Options of the command."""

    form: str | None
    include: str
    reviewed: str
    page_break: str
    workers: int | None
    dry_run: bool
    masks: str = "rle"
    copy_images: bool = False
    relative_to: str | None = None
    keep_old_text: bool = False


def command(
    console: Console, run_dir: str, out: str, asked: Asked, *, everything: bool, candidates: bool
) -> None:
    """Export the documents of an OCR run or labels. Raises RunNotFound, ConfigError."""
    if RunDir(run_dir).read_record()["job"] == "ocr_backfill":
        documents(console, run_dir, out, asked, everything=everything, candidates=candidates)
        return
    from jobs.commands.export_labels import export

    _check_for_labels(out, asked)
    export(
        console,
        run_dir,
        Path(out),
        asked.form or "coco",
        everything=everything,
        candidates=candidates,
        reviewed=asked.reviewed,
        dry_run=asked.dry_run,
        masks=asked.masks,
        copy_images=asked.copy_images,
        relative_to=asked.relative_to,
    )


def _check_for_labels(out: str, asked: Asked) -> None:
    """Refuse options that labels do not have. Raises ConfigError."""
    if is_bucket(out):
        raise ConfigError(
            f"{out}: labels are written to a local directory only",
            "export to a directory and copy it to the bucket",
        )
    given = {
        "--include": asked.include != "all",
        "--page-break": asked.page_break != "form-feed",
        "--workers": asked.workers is not None,
        "--keep-old-text": asked.keep_old_text,
    }
    _refuse(given, "documents; this run has labels")


def _refuse(given: Mapping[str, bool], whose: str) -> None:
    if wrong := [name for name, is_given in given.items() if is_given]:
        raise ConfigError(f"{wrong[0]} is for {whose}", f"leave out {wrong[0]}")


def documents(
    console: Console, run_dir: str, out: str, asked: Asked, *, everything: bool, candidates: bool
) -> None:
    """Write the documents of an OCR run; with `dry_run` only print what would be written."""
    run = RunDir(run_dir)
    _check_for_documents(asked, everything=everything, candidates=candidates)
    settings = {
        "format": asked.form or "text",
        "include": asked.include,
        "reviewed": asked.reviewed == "apply",
        "page_break": asked.page_break,
        "keep_old_text": asked.keep_old_text,
        "workers": asked.workers,
    }
    config = validated(DocumentExport, settings, "export")
    if asked.dry_run:
        _announce(console, run, out, config)
        return
    with _Bars(console) as bars:
        summary = export_documents(
            run,
            out,
            config,
            storage=settings_of_environment() if os.environ.get(STORAGE_ENV) else None,
            on_read=partial(bars.show, "rows read"),
            on_pages=partial(bars.show, "pages"),
        )
    _report(console, summary, out, config)


def _check_for_documents(asked: Asked, *, everything: bool, candidates: bool) -> None:
    """Refuse options that documents do not have. Raises ConfigError."""
    given = {
        "--all": everything,
        "--candidates": candidates,
        "--masks": asked.masks != "rle",
        "--copy-images": asked.copy_images,
        "--relative-to": asked.relative_to is not None,
    }
    _refuse(given, "labels; this run has documents")
    if asked.reviewed == "only":
        raise ConfigError(
            "--reviewed only is for labels: a document is exported with all of its pages",
            "use --include trusted to leave out the text of pages that wait for review",
        )
    if asked.keep_old_text and asked.form != "pdf":
        raise ConfigError("--keep-old-text is for --format pdf", "leave out --keep-old-text")


class _Bars:
    """Several progress bars, one after the other: a terminal shows one at a time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open = ExitStack()
        self._unit = ""
        self._shown: Callable[[int, int], None]

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def show(self, unit: str, done: int, total: int) -> None:
        """Update the bar of this unit."""
        if unit != self._unit:
            self._open.close()
            self._shown = self._open.enter_context(counted(self._console, unit, ""))
            self._unit = unit
        self._shown(done, total)


def _announce(console: Console, run: RunDir, out: str, config: DocumentExport) -> None:
    found = survey(run, config)
    table = FittedTable("pages by outcome", "")
    for name, count in found.outcomes.most_common():
        table.add_row(name, f"{count:,}")
    console.print(table)
    what = f"{found.rows:,} pages of {found.documents:,} documents as {config.format}: {out}"
    say(console, what, bold=True)
    names = [] if config.format == "jsonl" else found.names
    for name in names:
        say(console, f"  {one_line(name)}")
    if len(names) < found.documents and names:
        say(console, f"  and {found.documents - len(names):,} more *{SUFFIXES[config.format]}")
    say(console, "nothing was written (--dry-run)")


def _report(console: Console, summary: DocumentSummary, out: str, config: DocumentExport) -> None:
    table = FittedTable("pages of the run", "")
    _rows(table, _WITH_TEXT, summary.counts)
    _rows(table, _WITHOUT, summary.counts)
    for kind, count in sorted(summary.left_out.items()):
        table.add_row(f"not written: {kind}", f"{count:,}")
    table.add_row("all", f"{summary.rows:,}", style="bold")
    console.print(table)
    done = {"written": summary.written, "written again": summary.changed, "kept": summary.kept}
    shown = ", ".join(f"{count:,} {what}" for what, count in done.items() if count) or "none"
    things = "files" if config.format == "jsonl" else "documents"
    say(console, f"{things}: {shown}: {out}", bold=True)
    if summary.counts["unplaced"]:
        where = {
            "hocr": "each line has the box of its page",
            "alto": "the lines have no box",
            "pdf": "the lines are spread over the whole page",
        }.get(config.format)
        if where:
            count = summary.counts["unplaced"]
            say(console, f"{count:,} pages have text without positions: {where}")
    for note, count in sorted(summary.notes.items()):
        say(console, f"{count:,} {note}")
    for uri, message in summary.problems:
        problem = message if uri in message else f"{uri}: {message}"
        say(console, f"not written: {one_line(problem)}")
    if summary.left_out:
        say(console, "the same command tries these pages again")
    say(console, f"index: {out.rstrip('/')}/{INDEX}")


def _rows(table: Table, names: Mapping[str, str], counts: Mapping[str, int]) -> None:
    for key, name in names.items():
        if counts.get(key):
            table.add_row(name, f"{counts[key]:,}")
