"""Evaluate the texts of a run: character and word error rates, by outcome and slice.

The final text of a page is compared with its truth, for any reader; a failed page has missed all of
its text. Lines may be in any order (`pipelines.measures.character_errors`,
`pipelines.measures.word_errors`). The rate of several pages is the sum of their errors divided by
the sum of their characters (words); with much invented text it can exceed 1. `*_of_a_page` is the
mean over pages, each at most 1. Intervals are 95 %, from a bootstrap over files with all of their
pages.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipelines.decisions.finished import FinishedPage
from pipelines.errors import ConfigError
from pipelines.measures.intervals import Floats, Interval, Ints, Pages, ratio
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.truth.pages import (
    PageFound,
    PageTruths,
    check_pages,
    found_on,
    page_truths,
    read_truths,
    text_columns,
)
from pipelines.truth.slices import SMALL, Slicing, known_interval

#: Number of listed pages, highest error rate first.
WORST = 50
#: Rows that are Python objects at once.
_ROWS = 64


@dataclass(frozen=True)
class TextFigures:
    """Figures of some pages. None: nothing to count.

    Attributes:
        characters, words: of the truth.
        cer, wer: of all pages together. cer_of_a_page, wer_of_a_page: means over pages.
        exact: share of pages without wrong characters.
    """

    pages: int
    files: int
    characters: int
    words: int
    cer: Interval | None
    wer: Interval | None
    cer_of_a_page: Interval | None
    wer_of_a_page: Interval | None
    exact: Interval | None


@dataclass(frozen=True)
class TextSlice:
    """One value of one column; `small`: fewer pages than `SMALL`."""

    column: str
    value: str
    small: bool
    figures: TextFigures


@dataclass(frozen=True)
class WorstPage:
    """A page with many errors; `cer` and `wer` are at most 1."""

    row_id: int
    uri: str
    page: int
    outcome: str
    errors: int
    characters: int
    cer: float
    wer: float


@dataclass(frozen=True)
class TextEvaluation:
    """All figures of `nightjar evaluate` for pages.

    Attributes:
        pages: pages with truth; `rejected`: in review; `unused`: truths that fit no page.
        page_cers: of every page, ascending, at most 1 each.
    """

    pages: int
    rejected: int
    unused: int
    whole: TextFigures
    slices: tuple[TextSlice, ...]
    worst: tuple[WorstPage, ...]
    page_cers: tuple[float, ...]
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
    table = _Table()
    for row in _rows(run, (*text_columns(run), *slicing.columns)):
        known = truths.by_id.get(row["row_id"])
        if known is not None:
            slicing.add(row)
            table.add(row, found_on(cast(FinishedPage, row), known))
    parts = slicing.slices()
    figures = _Figures(table, seed)
    return TextEvaluation(
        pages=len(table.uris),
        rejected=truths.rejected,
        unused=len(truths.unused),
        whole=figures.of(np.arange(len(table.uris))),
        slices=tuple(
            TextSlice(one.column, one.value, one.small, figures.of(one.members)) for one in parts
        ),
        worst=tuple(one for _, one in sorted(table.worst, key=lambda item: item[0], reverse=True)),
        page_cers=tuple(sorted(round(number, 5) for number in table.cers)),
        warnings=tuple(_warnings(truths, len(table.uris))),
    )


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
    """The URI, counts and rates of each page, and the worst pages."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self.counts: list[tuple[int, int, int, int]] = []  # errors, characters, word errors, words
        self.cers: list[float] = []
        self.wers: list[float] = []
        self.worst: list[tuple[tuple[float, int, int], WorstPage]] = []  # a heap, the least first

    def add(self, row: Mapping[str, Any], found: PageFound) -> None:
        """Take the next page."""
        of = found.characters
        self.uris.append(row["uri"])
        self.counts.append((of.errors, of.characters, found.word_errors, found.words))
        self.cers.append(of.cer)
        self.wers.append(found.wer)
        if not of.errors:
            return
        one = WorstPage(
            **{name: row[name] for name in ("row_id", "uri", "page", "outcome")},
            errors=of.errors,
            characters=of.characters,
            cer=of.cer,
            wer=found.wer,
        )
        heapq.heappush(self.worst, ((of.cer, of.errors, -len(self.uris)), one))
        if len(self.worst) > WORST:
            heapq.heappop(self.worst)


class _Figures:
    """Computes figures of some of the pages, always with the same draws."""

    def __init__(self, table: _Table, seed: int) -> None:
        counts = np.array(table.counts, float)
        self._errors, self._characters, self._word_errors, self._words = counts.T
        self._cers, self._wers = np.array(table.cers), np.array(table.wers)
        self._files = np.unique(table.uris, return_inverse=True)[1]
        self._draws = Pages(self._errors, self._characters, self._files).draws(seed)

    def of(self, members: Ints) -> TextFigures:
        """Figures of the pages with these indices."""
        here = np.zeros(len(self._files))
        here[members] = 1.0
        exact, ones = (self._errors == 0).astype(float), np.ones_like(here)
        files = len(np.unique(self._files[members]))

        def rate(over: Floats, under: Floats) -> Interval | None:
            return known_interval(ratio(over * here, under * here, self._draws), files)

        return TextFigures(
            pages=len(members),
            files=files,
            characters=int(self._characters @ here),
            words=int(self._words @ here),
            cer=rate(self._errors, self._characters),
            wer=rate(self._word_errors, self._words),
            cer_of_a_page=rate(self._cers, ones),
            wer_of_a_page=rate(self._wers, ones),
            exact=rate(exact, ones),
        )


def _warnings(truths: PageTruths, pages: int) -> Iterator[str]:
    if pages < SMALL:
        yield f"{pages} pages are few: rely on the intervals, not on the figures"
    if truths.reviewed:
        yield (
            "the truth is reviewed texts of this run, mostly of pages in doubt: other pages may be "
            "better"
        )
