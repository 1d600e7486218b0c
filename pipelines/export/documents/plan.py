"""Settings, source and summary of an export of documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from actors.contract import Settings
from pipelines.config_files import validated
from pipelines.errors import ConfigError
from pipelines.export.documents.by_document import BUCKET_ROWS
from pipelines.export.documents.ledger import Entry
from pipelines.export.documents.names import file_name, root_of
from pipelines.export.documents.prose import PageBreak
from pipelines.export.page import COLUMNS, Include
from pipelines.pages.fetch import FetchConfig
from pipelines.review.answers import ReviewAnswers
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows, open_shard
from pipelines.sources.manifest import load_summary

Format = Literal["text", "markdown", "jsonl", "hocr", "alto", "pdf"]

SUFFIXES: dict[Format, str] = {
    "text": ".txt",
    "markdown": ".md",
    "jsonl": ".jsonl",
    "hocr": ".hocr",
    "alto": ".alto.xml",
    "pdf": ".pdf",
}


class DocumentExport(Settings):
    """Settings of an export."""

    format: Format
    include: Include = Field(
        "all", description="trusted: pages that wait for review are written without text"
    )
    reviewed: bool = Field(True, description="use reviewers' texts instead of the run's")
    page_break: PageBreak = Field("form-feed", description="format text: separator of pages")
    keep_old_text: bool = Field(
        False, description="format pdf: keep the text layer that the run refused, beside its text"
    )
    workers: int | None = Field(None, ge=1, description="PDFs made at once; null: one per core")
    bucket_rows: int = Field(BUCKET_ROWS, ge=1, description="rows in memory at once")


OnPages = Callable[[int, int], None]  #: (pages done, total)


@dataclass
class DocumentSummary:
    """Counts of an export. Each row of the run is in `pages` or in `left_out`.

    Attributes:
        rows: of the run.
        pages: rows in OUT.
        counts: source of the text, or reason for no text -> pages.
        left_out: failure kind -> rows of documents that could not be written.
        written: new documents, or new files of JSON lines.
        changed: documents or files that were written again.
        kept: documents or files that were up to date.
        notes: note -> lines or pages.
        problems: (uri, failure) of the first documents that could not be written.
    """

    rows: int = 0
    pages: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    written: int = 0
    changed: int = 0
    kept: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Count a document of the ledger."""
        fault = entry["failure"]
        if fault:
            self.left_out[fault["kind"]] += entry["pages"]
            if len(self.problems) < _MOST_PROBLEMS:
                self.problems.append((entry["uri"], fault["message"]))
            return
        self.documents += entry["documents"]
        self.pages += entry["pages"]
        self.counts.update(entry["counts"])
        self.notes.update(entry["notes"])


_MOST_PROBLEMS = 10


@dataclass(frozen=True)
class Source:
    """Facts about a run that an export needs."""

    fetch: FetchConfig
    root: str
    planned: int
    columns: list[str]
    answers: ReviewAnswers | None

    @classmethod
    def of(cls, run: RunDir, config: DocumentExport) -> Source:
        """Raises ConfigError, RunNotFound."""
        record = run.read_record()
        if record["job"] != "ocr_backfill":
            raise ConfigError(
                f"{run.path} is a run of {record['job']}",
                f"format {config.format} can be exported from OCR runs only",
            )
        fetch = validated(FetchConfig, record["config"]["fetch"], f"{run.record}, config.fetch")
        frozen = load_summary(run.manifest)
        shards = run.shard_files()
        if not shards:
            raise ConfigError(f"{run.path} has no finished rows", "call nightjar run first")
        known = open_shard(shards[0]).schema_arrow.names
        rows = sum(open_shard(path).metadata.num_rows for path in shards)
        return cls(
            fetch=fetch,
            root=root_of(record["config"].get("source", {}).get("path")),
            planned=max(rows, frozen.pages if frozen else 0),
            columns=[name for name in COLUMNS if name in known],
            answers=ReviewAnswers(run, "text") if config.reviewed else None,
        )


@dataclass
class Survey:
    """Preview of an export: documents, rows by outcome, the first file names."""

    documents: int = 0
    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)


def survey(run: RunDir, config: DocumentExport) -> Survey:
    """Count without writing: one pass over two columns, 8 bytes per document in memory.

    Raises ConfigError, RunNotFound.
    """
    source = Source.of(run, config)
    found, seen = Survey(), set()
    for batch in iter_rows(run, ["uri", "outcome"]):
        found.rows += batch.num_rows
        found.outcomes.update(batch["outcome"].to_pylist())
        for uri in batch["uri"].dictionary_encode().dictionary.to_pylist():
            if (key := hash(uri)) not in seen:
                seen.add(key)
                if len(found.names) < 5:
                    found.names.append(file_name(uri, source.root, SUFFIXES[config.format]))
    found.documents = len(seen)
    return found
