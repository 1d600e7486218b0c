"""Error rates of texts against their truth, beside each other for every contestant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipelines.measures.character_errors import TextLine, compare
from pipelines.measures.order_errors import compare_in_order
from pipelines.measures.word_errors import word_errors
from pipelines.truth.page_files import read_truth
from pipelines.truth.page_found import RATES, RATES_IN_ORDER, PageFound
from pipelines.truth.page_match import PageTruth

#: Key of a rate -> heading of its column. All count the same lines, in any order, but the last two.
COLUMNS = {
    "cer_with_blanks": "CER with blanks",
    "cer_without_blanks": "CER without",
    "wer": "WER",
    "ned": "NED in order",
    "wrong_successors": "wrong successors",
}
_PARTS = RATES | {name: RATES_IN_ORDER[name] for name in ("ned", "wrong_successors")}

Truths = dict[str, PageTruth]
#: page -> its counts, as `pipelines.truth.page_found.PageFound.counts` has them
Counts = dict[str, dict[str, int]]


def truths_of(folder: Path) -> Truths:
    """Page name without suffix -> truth."""
    return {one.name: one for one in read_truth(folder) if one.name is not None}


def counted(read: Mapping[str, Sequence[TextLine]], truths: Truths) -> Counts:
    """Compare pages, named like their files, with their truth.

    Blanks are counted in any case: all contestants meet the same truth. `legend` says if it is of
    the kind whose blanks are unreliable.
    """
    found = {}
    for page, lines in read.items():
        truth = truths[Path(page).stem]
        order = compare_in_order(lines, truth.lines) if truth.order else None
        errors = compare(lines, truth.lines), *word_errors(lines, truth.lines)
        found[page] = PageFound(*errors, blanks=True, order=order).counts()
    return found


def rates(counts: Iterable[Mapping[str, int]]) -> dict[str, float]:
    """The rates (0..1) of all pages together; one that the truth does not give is missing."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    parts = {name: (total[over], total[under]) for name, (over, under) in _PARTS.items()}
    return {name: round(over / under, 5) for name, (over, under) in parts.items() if under}


def cells(found: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """The cells of the columns `names`."""
    return [f"{100 * found[name]:.2f} %" if name in found else "" for name in names]


def names_of(contestants: Iterable[Mapping[str, float]]) -> list[str]:
    """The rates that any contestant has, in the order of the columns."""
    there = {name for found in contestants for name in found}
    return [name for name in COLUMNS if name in there]


def legend(truths: Truths) -> str:
    """What the columns count."""
    said = (
        "CER: wrong characters, with a run of white space as one blank, or without white space. "
        "WER: wrong words (jiwer). Lines may be in any order; case does not count."
    )
    if any(one.order for one in truths.values()):
        said += " NED: edits of the whole text in reading order, blanks counted."
    if not all(one.blanks for one in truths.values()):
        said += (
            " This truth has unreliable blanks: CER with blanks and WER compare contestants, but "
            "are too high for all of them."
        )
    return said
