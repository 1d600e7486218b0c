"""Evaluate the texts of a run: character and word error rates, by outcome and slice.

The final text of a page is compared with its truth, for any reader; a failed page has missed all of
its text. Lines may be in any order (`pipelines.measures.character_errors`,
`pipelines.measures.word_errors`), but for the figures `in_order`
(`pipelines.measures.order_errors`). The rate of several pages is the sum of their errors divided by
the sum of their characters (words); with much invented text it can exceed 1. `*_of_a_page` is the
mean over pages, each at most 1. Intervals are 95 %, from a bootstrap over files with all of their
pages. Pages whose truth has no reliable blanks or order (`pipelines.truth.trust`) are left out of
the figures that need them; their WER is counted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipelines.decisions.finished import FinishedPage
from pipelines.errors import ConfigError
from pipelines.evaluation.text_figures import LEGEND, Figures, TextFigures
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.truth.page_found import PageFound, found_on
from pipelines.truth.pages import (
    PageTruths,
    check_pages,
    page_truths,
    read_truths,
    text_columns,
)
from pipelines.truth.slices import SMALL, Slicing

#: Number of listed pages, highest error rate first.
WORST = 50
#: Rows that are Python objects at once.
_ROWS = 64


@dataclass(frozen=True)
class TextSlice:
    """One value of one column; `small`: fewer pages than `SMALL`."""

    column: str
    value: str
    small: bool
    figures: TextFigures


@dataclass(frozen=True)
class WorstPage:
    """A page with many errors. Rates are at most 1; None: its truth has no blanks, or no order.

    `errors`, `characters`: with blanks, if its truth has them.
    """

    row_id: int
    uri: str
    page: int
    outcome: str
    errors: int
    characters: int
    cer_with_blanks: float | None
    cer_without_blanks: float
    wer: float
    ned: float | None


@dataclass(frozen=True)
class TextEvaluation:
    """All figures of `nightjar evaluate` for pages.

    Attributes:
        legend: what the keys of the figures mean.
        pages: pages with truth; `rejected`: in review; `unused`: truths that fit no page.
        unreliable_blanks, unknown_order: pages whose truth has no reliable blanks, or no order.
        page_cers_with_blanks, page_cers_without_blanks: of every page, ascending, at most 1 each.
    """

    legend: Mapping[str, str]
    pages: int
    rejected: int
    unused: int
    unreliable_blanks: int
    unknown_order: int
    whole: TextFigures
    slices: tuple[TextSlice, ...]
    worst: tuple[WorstPage, ...]
    page_cers_with_blanks: tuple[float, ...]
    page_cers_without_blanks: tuple[float, ...]
    warnings: tuple[str, ...]


def evaluate_text(
    run: RunDir,
    truth: str | Path,
    slices: Sequence[str] = (),
    metadata: Path | None = None,
    seed: int = 0,
) -> TextEvaluation:
    """Compare a run of pages with its truth.

    Args:
        run: its shards are read a batch at a time.
        truth: see `pipelines.truth.page_files.read_truth`, or the word `reviewed`.
        slices, metadata: see `pipelines.truth.slices.Slicing`.
        seed: of the bootstrap.

    Raises ConfigError if the truth cannot be read or fits no page, or if a column is unknown.
    """
    check_pages(run)
    slicing = Slicing(run, ("outcome", *slices), metadata)
    truths = _useful(page_truths(run, read_truths(run, truth)), truth)
    table = _compared(run, truths, slicing)
    parts = slicing.slices()
    figures = Figures(table.found, table.uris, seed)
    return TextEvaluation(
        legend=LEGEND,
        pages=len(table.uris),
        rejected=truths.rejected,
        unused=len(truths.unused),
        unreliable_blanks=sum(not one.blanks for one in table.found),
        unknown_order=sum(one.order is None for one in table.found),
        whole=figures.of(np.arange(len(table.uris))),
        slices=tuple(
            TextSlice(one.column, one.value, one.small, figures.of(one.members)) for one in parts
        ),
        worst=table.worst(),
        page_cers_with_blanks=_ascending(one.cer_with_blanks for one in table.found),
        page_cers_without_blanks=_ascending(one.characters.cer for one in table.found),
        warnings=tuple(_warnings(truths, len(table.uris))),
    )


def _compared(run: RunDir, truths: PageTruths, slicing: Slicing) -> _Table:
    """The pages with truth; adds each of them to the slices."""
    table = _Table()
    for row in _rows(run, (*text_columns(run), *slicing.columns)):
        known = truths.by_id.get(row["row_id"])
        if known is not None:
            slicing.add(row)
            table.add(row, found_on(cast(FinishedPage, row), known))
    return table


def _ascending(rates: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(sorted(round(rate, 5) for rate in rates if rate is not None))


def _useful(truths: PageTruths, truth: str | Path) -> PageTruths:
    if not truths.by_id:
        raise ConfigError(
            f"{truth} has no usable truth: all {truths.rejected} pages of it are rejected",
            "correct some of them, or give truth files",
        )
    return truths


def _rows(run: RunDir, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in iter_rows(run, tuple(dict.fromkeys(columns))):
        for start in range(0, batch.num_rows, _ROWS):
            yield from batch.slice(start, _ROWS).to_pylist()


class _Table:
    """The URI and the errors of each page, and the worst pages."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self.found: list[PageFound] = []
        self._worst: list[tuple[tuple[float, int, int], WorstPage]] = []  # a heap, the least first

    def add(self, row: Mapping[str, Any], found: PageFound) -> None:
        """Take the next page."""
        of = found.characters
        self.uris.append(row["uri"])
        # Errors of lines would fill the memory.
        self.found.append(replace(found, characters=replace(of, lines=())))
        errors, size = found.main_errors
        if not errors and not found.ned:
            return
        one = WorstPage(
            **{name: row[name] for name in ("row_id", "uri", "page", "outcome")},
            errors=errors,
            characters=size,
            cer_with_blanks=found.cer_with_blanks,
            cer_without_blanks=of.cer,
            wer=found.wer,
            ned=found.ned,
        )
        heapq.heappush(self._worst, ((min(1, errors / max(size, 1)), errors, -len(self.uris)), one))
        if len(self._worst) > WORST:
            heapq.heappop(self._worst)

    def worst(self) -> tuple[WorstPage, ...]:
        """The worst pages, highest error rate first."""
        ranked = sorted(self._worst, key=lambda item: item[0], reverse=True)
        return tuple(one for _, one in ranked)


def _warnings(truths: PageTruths, pages: int) -> Iterator[str]:
    if pages < SMALL:
        yield f"{pages} pages are few: rely on the intervals, not on the figures"
    if truths.reviewed:
        yield (
            "the truth is reviewed texts of this run, mostly of pages in doubt: other pages may be "
            "better"
        )
