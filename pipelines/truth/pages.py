"""The true and the final texts of a run's pages, for comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.decisions.finished import FinishedPage
from pipelines.errors import ConfigError
from pipelines.measures.character_errors import TextLine
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.storage.paths import RunPath, run_path
from pipelines.truth.page_files import read_truth
from pipelines.truth.page_match import (
    COLUMNS,
    ROTATION,
    PageTruth,
    lines_as_read,
    lines_as_true,
    match,
    names_of,
)
from pipelines.truth.reviewed import REVIEWED_TRUTH
from pipelines.truth.slices import schema_of

#: Columns to compare final texts. Runs with a second reader also have `lines_source`.
TEXT_COLUMNS = (*COLUMNS, "outcome", "text", "text_source")
_READER = "lines_source"
_EXAMPLES = 5  #: pages without truth that the error message names


@dataclass(frozen=True)
class PageTruths:
    """The truths of a run's pages.

    Attributes:
        by_id: row id -> truth, without pages that a reviewer rejected.
        rejected: number of rejected pages.
        unused: truths that fit no page.
        reviewed: whether any truth is a reviewer's answer.
    """

    by_id: dict[int, PageTruth]
    rejected: int
    unused: list[str]
    reviewed: bool


def read_truths(run: RunDir, truth: str | RunPath) -> list[PageTruth]:
    """Read true texts; see `pipelines.truth.page_files.read_truth`.

    The word `reviewed` stands for the reviewed rows of `run`. A truth on s3:// is the directory of
    a run; its reviewed rows are read.
    """
    path = run_path(truth)
    own = str(truth) == REVIEWED_TRUTH and not path.exists()
    path = run.path if own else path
    if isinstance(path, Path):
        return read_truth(path)
    with RunDir(path).folder("reviewed", keep=False) as folder:
        return read_truth(folder)


def page_truths(run: RunDir, truths: Sequence[PageTruth]) -> PageTruths:
    """Match the pages of a run with their truth. Memory grows with the truths, not with the run.

    Raises ConfigError as `pipelines.truth.page_match.match` does, and if the run holds no pages.
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
    """Raise ConfigError if a run holds no readings of pages."""
    lacking = set(TEXT_COLUMNS) - set(schema_of(run).names)
    if lacking:
        raise ConfigError(
            f"{run.path} holds no readings: it lacks the columns {', '.join(sorted(lacking))}",
            "use true texts with a run of ocr_backfill, and a COCO JSON with a run of autolabel",
        )


def text_columns(run: RunDir) -> tuple[str, ...]:
    """`TEXT_COLUMNS`, and `lines_source` and `rotation` if the run has them."""
    there = set(schema_of(run).names)
    return (*TEXT_COLUMNS, *({_READER, ROTATION} & there))


def final_sides(row: FinishedPage, truth: PageTruth) -> tuple[list[TextLine], list[TextLine]]:
    """The final lines and the true lines of a page.

    The final lines are `lines` if `text` has the same reader. Otherwise (fallback) they are the
    lines of `text`, without boxes. A page without text has no final lines.
    """
    return _final_lines(row), lines_as_true(row, truth)


def _final_lines(row: FinishedPage) -> list[TextLine]:
    if row["text"] is None:
        return []
    same = row.get("lines_source") in (None, row["text_source"])
    if same and row["lines"] is not None:
        return lines_as_read(row["lines"])
    return [TextLine(line, None) for line in row["text"].split("\n")]
