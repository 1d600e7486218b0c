"""Export an OCR run as documents: text, Markdown, JSON lines, hOCR, ALTO or searchable PDF.

RUN/shards --split by uri--> buckets on disk --sort--> documents, pages in order --format--> OUT

Memory holds one bucket (`pipelines.export.documents.by_document`) and the documents in progress.
The same export started again continues after a kill, and writes only documents that are missing or
have changed: new pages, other readings, reviews (`pipelines.export.documents.ledger`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import RunBusy
from pipelines.export.documents.by_document import DocumentBuckets
from pipelines.export.documents.ledger import HIDDEN, Ledger, check_place
from pipelines.export.documents.names import absolute
from pipelines.export.documents.plan import (
    SUFFIXES,
    DocumentExport,
    DocumentSummary,
    OnPages,
    Source,
    survey,
)
from pipelines.export.documents.writer import DocumentWriter
from pipelines.runs.directory import RunDir
from pipelines.storage.client import Storage, StorageSettings
from pipelines.storage.objects import is_bucket
from pipelines.storage.output_errors import output_errors

__all__ = ["SUFFIXES", "DocumentExport", "DocumentSummary", "export_documents", "survey"]


def export_documents(
    run: RunDir,
    out: str,
    config: DocumentExport,
    *,
    storage: StorageSettings | None = None,
    on_read: OnPages = lambda done, total: None,
    on_pages: OnPages = lambda done, total: None,
) -> DocumentSummary:
    """Write the documents of a run below `out`.

    Args:
        run: of the job ocr_backfill; its files are only read.
        out: a folder or s3://bucket/prefix: empty, or with the same export, which continues.
        config: format and selection.
        storage: settings to reach `out`; None: those of the run's source.
        on_read: called while the run is read, with (rows, planned rows).
        on_pages: called while documents are written, with (pages, total).

    Raises:
        ConfigError: `run` is no OCR run, or `out` holds other files.
        RunConflict: `out` holds another export.
        RunNotFound, OutputUnwritable.
    """
    source = Source.of(run, config)
    target, out = Storage(storage or source.fetch.storage), absolute(out)
    check_place(target, out)
    with _held(out), _scratch(out) as folder, output_errors(folder):
        ledger = Ledger(target, out, _state(run, source, config))
        spool = DocumentBuckets(folder, ledger.buckets)
        on_read(0, source.planned)
        spool.deal(run, source.columns, lambda rows: on_read(rows, max(rows, source.planned)))
        writer = DocumentWriter(source, config, target, ledger, spool.rows, on_pages)
        on_pages(0, spool.rows)
        with writer:
            for number in range(ledger.buckets):
                writer.bucket(number, spool.bucket(number))
        ledger.write_index()
    writer.summary.rows = spool.rows
    return writer.summary


def _state(run: RunDir, source: Source, config: DocumentExport) -> dict[str, Any]:
    """The state of the export's ledger: run and settings."""
    operational = {"workers", "bucket_rows"}
    if config.format != "pdf":
        operational.add("keep_old_text")
    return {
        "run": absolute(str(run.path)),
        **config.model_dump(mode="json", exclude=operational),
        "buckets": max(1, -(-source.planned // config.bucket_rows)),
        "root": source.root,
    }


@contextmanager
def _held(out: str) -> Iterator[None]:
    """Lock a local export. Two exports into one bucket are safe, but do the work twice."""
    if is_bucket(out):
        yield
        return
    try:
        with RunDir(Path(out) / HIDDEN).locked():
            yield
    except RunBusy as busy:
        raise RunBusy(
            busy.message, "wait for the other export or stop it, then repeat this command"
        ) from None


@contextmanager
def _scratch(out: str) -> Iterator[Path]:
    """An empty folder for the spool: inside a local export, else in the temporary directory."""
    parent = None if is_bucket(out) else Path(out) / HIDDEN
    for left in parent.glob("spool-*") if parent else ():  # of a killed export
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="spool-", dir=parent) as folder:
        yield Path(folder)
