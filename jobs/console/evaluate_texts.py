"""The tables of `nightjar evaluate` for pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from jobs.console.evaluate_tables import print_slices, warn
from jobs.console.fitted import FittedTable
from jobs.console.live import say
from jobs.console.terminal import one_line
from pipelines.evaluation.pages import TextEvaluation, WorstPage
from pipelines.evaluation.text_figures import OrderFigures, TextFigures
from pipelines.measures.intervals import Interval
from pipelines.storage.paths import RunPath

_PAGES = 10  #: most pages in the table of the worst ones
_ANY_ORDER = (
    "CER: wrong characters; with blanks, a run of white space counts as one blank; without, all of "
    "it is left out. WER: wrong words, as jiwer counts them. Lines may be in any order; case does "
    "not count. Brackets: 95 % intervals."
)
_IN_ORDER = (
    "The whole text of a page as one string. NED: edits, blanks counted, by the characters of the "
    "truth. Wrong successors: share of lines that the next line of the truth does not follow."
)


def print_text(console: Console, found: TextEvaluation, run: RunPath, truth: str) -> None:
    """Print the evaluation of an OCR run."""
    rejected = f", {found.rejected:,} rejected in review and left out" if found.rejected else ""
    unused = f", {found.unused:,} truths match no page" if found.unused else ""
    size = f"{found.pages:,} pages, {found.whole.characters:,} characters"
    say(console, f"{run} against {truth}: {size}{rejected}{unused}", bold=True)
    wer = "WER †" if found.unreliable_blanks else "WER"
    _print_any_order(console, found, wer)
    if found.unknown_order < found.pages:
        _print_in_order(console, found, wer)
    if found.worst:
        console.print(_worst(found.worst[:_PAGES], wer), markup=False)
    if found.unreliable_blanks:
        say(
            console,
            f"† the truth of {found.unreliable_blanks:,} pages has unreliable blanks: they have no "
            "CER with blanks, and some of their wrong words are faults of the truth",
        )
    warn(console, found.warnings)


def _print_any_order(console: Console, found: TextEvaluation, wer: str) -> None:
    headings = ("pages", "CER with blanks", "CER without", wer, "exact without")
    table = FittedTable("in any order", *headings)
    table.add_row("all", *_any_order(found.whole))
    table.add_row("mean of pages", *_of_a_page(found.whole))
    console.print(table, markup=False)
    say(console, _ANY_ORDER)
    rows = [(s.column, s.value, s.small, list(_any_order(s.figures))) for s in found.slices]
    print_slices(console, rows, headings)


def _print_in_order(console: Console, found: TextEvaluation, wer: str) -> None:
    headings = ("pages", "NED", "CER without", wer, "wrong successors")
    table = FittedTable("in reading order", *headings)
    table.add_row("all", *_in_order(found.whole.in_order))
    console.print(table, markup=False)
    say(console, _IN_ORDER)
    rows = [
        (f"{s.column} in order", s.value, s.small, list(_in_order(s.figures.in_order)))
        for s in found.slices
        if s.figures.in_order.pages
    ]
    print_slices(console, rows, headings)


def _any_order(one: TextFigures) -> Iterator[str]:
    yield f"{one.pages:,}"
    yield from map(percent, (one.cer_with_blanks, one.cer_without_blanks, one.wer, one.exact))


def _of_a_page(one: TextFigures) -> Iterator[str]:
    yield f"{one.pages:,}"
    of_a_page = one.cer_with_blanks_of_a_page, one.cer_without_blanks_of_a_page, one.wer_of_a_page
    yield from map(percent, of_a_page)
    yield ""


def _in_order(one: OrderFigures) -> Iterator[str]:
    yield f"{one.pages:,}"
    yield from map(percent, (one.ned, one.cer_without_blanks, one.wer, one.wrong_successors))


def _worst(pages: Sequence[WorstPage], wer: str) -> Table:
    headings = ("outcome", "CER with blanks", "CER without", wer, "NED", "row")
    table = FittedTable("worst pages", *headings)
    for page in pages:
        rates = map(_rate, (page.cer_with_blanks, page.cer_without_blanks, page.wer, page.ned))
        place = f"{one_line(page.uri)} page {page.page}"
        table.add_row(place, page.outcome, *rates, str(page.row_id))
    return table


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def percent(figure: Interval | None) -> str:
    """`3.1 % (2.4 .. 4.0)`."""
    if figure is None:
        return "-"
    if math.isnan(figure.low):
        return f"{100 * figure.value:.2f} %"
    return f"{100 * figure.value:.2f} % ({100 * figure.low:.1f} .. {100 * figure.high:.1f})"
