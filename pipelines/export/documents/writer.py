"""Write the documents of an export bucket by bucket, and record them in its ledger."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Literal, cast

import pyarrow as pa

from actors.failures import FailureKind, ItemFailure, failure
from pipelines.decisions.finished import FinishedPage
from pipelines.export.documents.by_document import documents_of, rows_of
from pipelines.export.documents.ledger import Entry, Ledger
from pipelines.export.documents.names import file_name
from pipelines.export.documents.plan import (
    SUFFIXES,
    DocumentExport,
    DocumentSummary,
    OnPages,
    Source,
)
from pipelines.export.documents.prose import json_lines_of, markdown_of, text_of
from pipelines.export.documents.xml import alto_of, hocr_of
from pipelines.export.page import COLUMNS, ExportPage, page_of
from pipelines.export.pdf.maker import MadePdf, PdfMaker
from pipelines.storage.client import Storage


class DocumentWriter:
    """Writes and counts the documents of one bucket after the other."""

    def __init__(
        self,
        source: Source,
        config: DocumentExport,
        target: Storage,
        ledger: Ledger,
        rows: int,
        on_pages: OnPages,
    ) -> None:
        self.summary = DocumentSummary()
        self._source, self._config, self._target = source, config, target
        self._ledger, self._rows, self._on_pages = ledger, rows, on_pages
        self._done = 0
        self._pdf = (
            PdfMaker(source.fetch, keep_old_text=config.keep_old_text)
            if config.format == "pdf"
            else None
        )
        self._at_once = (config.workers or os.cpu_count() or 1) if self._pdf else 1
        self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix="export")
        self._under_way: dict[Future[Entry], int] = {}

    def __enter__(self) -> DocumentWriter:
        return self

    def __exit__(self, *error: object) -> None:
        """Finish the documents in progress; after an error they are not recorded."""
        self._pool.shutdown(cancel_futures=True)
        if self._pdf:
            self._pdf.close()

    def bucket(self, number: int, rows: pa.Table | None) -> None:
        """Write all documents of a bucket and its ledger."""
        self._ledger.open(number)
        if rows is not None and self._config.format == "jsonl":
            self._bucket_of_lines(number, rows)
        elif rows is not None:
            for uri, document in documents_of(rows):
                self._document(uri, document)
        while self._under_way:
            self._collect()
        self._ledger.close()

    def _document(self, uri: str, document: pa.Table) -> None:
        digest = self._digest(document)
        if self._kept(uri, digest, document.num_rows):
            return
        while len(self._under_way) >= 2 * self._at_once:
            self._collect()
        name = file_name(uri, self._ledger.root, SUFFIXES[self._config.format])
        task = self._pool.submit(self._write, uri, name, digest, document)
        self._under_way[task] = document.num_rows
        if not self._pdf:
            self._collect()

    def _kept(self, key: str, digest: str, rows: int) -> bool:
        entry = self._ledger.done(key, digest)
        if entry is None:
            return False
        self.summary.kept += 1
        self.summary.add(entry)
        self._progress(rows)
        return True

    def _collect(self) -> None:
        done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
        for task in done:
            rows = self._under_way.pop(task)
            self._note(task.result(), rows)

    def _note(self, entry: Entry, rows: int) -> None:
        if entry["file"] is not None:
            known = self._ledger.known(entry["uri"])
            self.summary.changed += known
            self.summary.written += not known
        self._ledger.add(entry)
        self.summary.add(entry)
        self._progress(rows)

    def _progress(self, rows: int) -> None:
        self._done += rows
        self._on_pages(self._done, self._rows)

    def _digest(self, document: pa.Table) -> str:
        """Digest of all rows and answers of a document."""
        digest, answers = hashlib.blake2b(digest_size=16), self._source.answers or None
        for row in rows_of(document):
            said = answers and answers.of(row["row_id"])
            digest.update(json.dumps([row, said], sort_keys=True).encode())
        return digest.hexdigest()

    def _pages(self, document: pa.Table) -> Iterator[ExportPage]:
        for row in rows_of(document):
            whole = cast(FinishedPage, dict.fromkeys(COLUMNS) | row)
            yield page_of(whole, self._source.answers, self._config.include)

    def _write(self, uri: str, name: str, digest: str, document: pa.Table) -> Entry:
        """Write one document and return its entry for the ledger."""
        entry = _entry(uri, name, digest, pages=document.num_rows)
        counts: Counter[str] = Counter()
        try:
            if self._pdf:
                made = self._write_pdf(name, list(self._pages(document)), counts)
                old = made.old_text
                entry |= {"notes": _notes_of(made), "bare": made.bare, "old_text": _verdict(old)}
                entry |= {"old_text_pages": old}
            else:
                self._write_text(uri, name, document, counts)
        except ItemFailure as fault:
            return entry | {"file": None, "failure": fault.as_value()}
        return entry | {"counts": dict(counts)}

    def _write_pdf(self, name: str, pages: list[ExportPage], counts: Counter[str]) -> MadePdf:
        assert self._pdf is not None
        made = self._pdf(pages)
        self._target.write_bytes(f"{self._ledger.out}/{name}", made.file)
        for page in pages:
            counts.update(page.counts())
        return made

    def _write_text(self, uri: str, name: str, document: pa.Table, counts: Counter[str]) -> None:
        """Raises ItemFailure for a document with failed pages only."""
        if set(document["outcome"].to_pylist()) == {"failed"}:
            page = next(self._pages(document))
            fault = page.failure or failure(FailureKind.ENGINE_FAULT, "no page was read")
            raise ItemFailure(FailureKind(fault["kind"]), fault["message"])
        pages = _counted(self._pages(document), counts)
        pieces: Iterator[str]
        match self._config.format:
            case "text":
                pieces = text_of(pages, self._config.page_break)
            case "markdown":
                pieces = markdown_of(pages)
            case "hocr":
                pieces = hocr_of(uri, document.num_rows, pages)
            case _:
                pieces = alto_of(uri, pages)
        self._stream(name, pieces)

    def _stream(self, name: str, pieces: Iterator[str]) -> None:
        with self._target.open_output(f"{self._ledger.out}/{name}") as file:
            for piece in pieces:
                file.write(piece.encode())

    def _bucket_of_lines(self, number: int, rows: pa.Table) -> None:
        """JSON lines: one file per bucket, because a million small files are hard to use."""
        name = f"pages-{number:05d}-of-{self._ledger.buckets:05d}.jsonl"
        documents = [document for _, document in documents_of(rows)]
        digests = "".join(self._digest(document) for document in documents)
        digest = hashlib.blake2b(digests.encode(), digest_size=16).hexdigest()
        if self._kept(name, digest, rows.num_rows):
            return
        counts: Counter[str] = Counter()
        every = (page for document in documents for page in self._pages(document))
        self._stream(name, json_lines_of(_counted(every, counts)))
        entry = _entry(name, name, digest, documents=len(documents), pages=rows.num_rows)
        self._note(entry | {"counts": dict(counts)}, rows.num_rows)


def _entry(uri: str, name: str, digest: str, *, documents: int = 1, pages: int) -> Entry:
    """The entry of a document before it is written."""
    return {
        "uri": uri,
        "file": name,
        "digest": digest,
        "documents": documents,
        "pages": pages,
        "counts": {},
        "notes": {},
        "failure": None,
    }


def _notes_of(made: MadePdf) -> dict[str, int]:
    notes = Counter({"lines that their pages had already": made.there})
    notes["pages that could not be drawn, or written on"] = len(made.bare)
    removed = sum(done == "removed" for done in made.old_text.values())
    notes["pages without the old text layer that the run refused"] = removed
    notes["pages that keep an old text layer (old_text_pages in the index says why)"] = (
        len(made.old_text) - removed
    )
    notes["documents whose signature is no longer valid"] = made.signed
    return dict(+notes)


def _verdict(old_text: Mapping[str, str]) -> Literal["removed", "kept"] | None:
    if any(done != "removed" for done in old_text.values()):
        return "kept"
    return "removed" if old_text else None


def _counted(pages: Iterator[ExportPage], counts: Counter[str]) -> Iterator[ExportPage]:
    for page in pages:
        counts.update(page.counts())
        yield page
