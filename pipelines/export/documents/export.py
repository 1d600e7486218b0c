"""A finished OCR run -> its documents as text, Markdown, JSON lines, hOCR, ALTO or searchable PDF.

RUN/shards --deal by uri--> buckets on disk --sort--> documents, pages in order --format--> OUT

Memory is bounded by a bucket (`pipelines.export.documents.by_document`) and the documents in work.
An export that was killed goes on where it was; one that is started again over a run that has
changed (more pages, another reading, a review) writes the documents that changed
(`pipelines.export.documents.ledger`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
from pipelines.storage.objects import is_s3
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
        out: a folder or s3://bucket/prefix: empty, or holding this very export, which goes on.
        config: what is written.
        storage: how `out` is reached; None: as the run reached its source.
        on_read: called while the run is read, with (rows, rows of the plan).
        on_pages: called while documents are written.

    Raises:
        ConfigError: it is no OCR run, or `out` holds something else.
        RunConflict: `out` holds another export.
        RunNotFound, OutputUnwritable.
    """
    source = Source.of(run, config)
    planned = source.planned
    target, out = Storage(storage or source.fetch.storage), absolute(out)
    check_place(target, out)
    state = {
        "run": absolute(str(run.path)),
        **config.model_dump(mode="json", exclude={"workers", "bucket_rows"}),
        "buckets": max(1, -(-planned // config.bucket_rows)),
        "root": source.root,
    }
    with _held(out), _scratch(out) as folder, output_errors(folder):
        ledger = Ledger(target, out, state)
        spool = DocumentBuckets(folder, ledger.buckets)
        on_read(0, planned)
        spool.deal(run, source.columns, lambda rows: on_read(rows, max(rows, planned)))
        writer = DocumentWriter(source, config, target, ledger, spool.rows, on_pages)
        on_pages(0, spool.rows)
        with writer:
            for number in range(ledger.buckets):
                writer.bucket(number, spool.bucket(number))
        ledger.write_index()
    writer.summary.rows = spool.rows
    return writer.summary


@contextmanager
def _held(out: str) -> Iterator[None]:
    """Keep a local export to this process. Two that write to one bucket do the work twice."""
    if is_s3(out):
        yield
        return
    try:
        with RunDir(Path(out) / HIDDEN).locked():
            yield
    except RunBusy as busy:
        raise RunBusy(busy.message, "wait for it, or stop it; this one can go on then") from None


@contextmanager
def _scratch(out: str) -> Iterator[Path]:
    """An empty folder for the spool: beside a local export, else where temporary files go."""
    parent = None if is_s3(out) else Path(out) / HIDDEN
    for left in parent.glob("spool-*") if parent else ():  # of one that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="spool-", dir=parent) as folder:
        yield Path(folder)
