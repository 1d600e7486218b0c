"""The true texts of a run's pages, and what a page finally says, both ready to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.decisions.finished import FinishedPage
from pipelines.errors import ConfigError
from pipelines.measures.character_errors import PageErrors, TextLine, compare
from pipelines.measures.word_errors import word_errors
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.storage.paths import RunPath, run_path
from pipelines.truth.page_files import read_truth
from pipelines.truth.page_match import (
    COLUMNS,
    PageTruth,
    lines_as_read,
    lines_as_true,
    match,
    names_of,
)
from pipelines.truth.reviewed import REVIEWED_TRUTH
from pipelines.truth.slices import schema_of

#: Columns that comparing the final text needs; `lines_source` only where there is a second reader.
TEXT_COLUMNS = (*COLUMNS, "outcome", "text", "text_source")
_READER = "lines_source"
_EXAMPLES = 5  #: of pages without truth, for the message that nothing fits


@dataclass(frozen=True)
class PageTruths:
    """Attributes:
    by_id: row id -> truth, of pages of the run; those that a reviewer rejected are left out.
    rejected: how many these are.
    unused: truths that fit no page.
    reviewed: whether any of them is a reviewer's answer.
    """

    by_id: dict[int, PageTruth]
    rejected: int
    unused: list[str]
    reviewed: bool


def read_truths(run: RunDir, truth: str | RunPath) -> list[PageTruth]:
    """See `pipelines.truth.page_files.read_truth`; the word `reviewed` is the run's own answers.

    On s3:// truth is the directory of a run, of which the answers are read.
    """
    path = run_path(truth)
    own = str(truth) == REVIEWED_TRUTH and not path.exists()
    path = run.path if own else path
    if isinstance(path, Path):
        return read_truth(path)
    with RunDir(path).folder("reviewed", keep=False) as folder:
        return read_truth(folder)


def page_truths(run: RunDir, truths: Sequence[PageTruth]) -> PageTruths:
    """Give pages of a run their truth; holds as many rows as there are truths, not the run.

    Raises ConfigError as `pipelines.truth.page_match.match` does, and where the run holds no pages.
    """
    check_pages(run)
    ids = {truth.row_id for truth in truths}
    names = {truth.name for truth in truths}
    rows, others = list[FinishedPage](), list[FinishedPage]()
    for batch in iter_rows(run, ("row_id", "uri", "page", "pages")):
        pages: list[FinishedPage] = batch.to_pylist()
        for row in pages:
            if row["row_id"] in ids or any(name in names for name in names_of(row["uri"])):
                rows.append(row)
            elif len(others) < _EXAMPLES:
                others.append(row)
    matched = match(rows or others, truths)
    pairs = {row["row_id"]: truth for row, truth in matched.pairs}
    kept = {row_id: truth for row_id, truth in pairs.items() if truth.verdict != "reject"}
    reviewed = any(truth.verdict for truth in kept.values())
    return PageTruths(kept, len(pairs) - len(kept), matched.unused, reviewed)


def check_pages(run: RunDir) -> None:
    """Raise ConfigError where a run holds no readings of pages."""
    lacking = set(TEXT_COLUMNS) - set(schema_of(run).names)
    if lacking:
        raise ConfigError(
            f"{run.path} holds no readings: its rows lack {', '.join(sorted(lacking))}",
            "true texts go with a run of ocr_backfill, a COCO JSON with one of autolabel",
        )


def text_columns(run: RunDir) -> tuple[str, ...]:
    """Of `TEXT_COLUMNS` and the reader of the lines, those that a run has."""
    there = set(schema_of(run).names)
    return (*TEXT_COLUMNS, *({_READER} & there))


def final_sides(row: FinishedPage, truth: PageTruth) -> tuple[list[TextLine], list[TextLine]]:
    """What a page finally says, and what it should say.

    The lines stand for the text where their reader is that of the text; a text of another reader
    (a fallback) is its lines, without boxes. A page without text says nothing.
    """
    return _final_lines(row), lines_as_true(row, truth)


def _final_lines(row: FinishedPage) -> list[TextLine]:
    if row["text"] is None:
        return []
    same = row.get("lines_source") in (None, row["text_source"])
    if same and row["lines"] is not None:
        return lines_as_read(row["lines"])
    return [TextLine(line, None) for line in row["text"].splitlines()]


@dataclass(frozen=True)
class PageFound:
    """How wrong a page is, in characters (order-free) and in words."""

    characters: PageErrors
    word_errors: int
    words: int

    @property
    def wer(self) -> float:
        """Word error rate, 0..1; of a blank page 1 if anything was read there."""
        return min(1.0, self.word_errors / max(self.words, 1))


def found_on(row: FinishedPage, truth: PageTruth) -> PageFound:
    """Compare the final text of a row with its truth."""
    read, true = final_sides(row, truth)
    return PageFound(compare(read, true), *word_errors(read, true))
