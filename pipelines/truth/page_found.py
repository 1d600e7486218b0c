"""The errors of a page against its truth, and the rates that sums of them give."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.decisions.finished import FinishedPage
from pipelines.measures.character_errors import PageErrors, compare, counted
from pipelines.measures.order_errors import OrderErrors, compare_in_order
from pipelines.measures.word_errors import word_errors
from pipelines.truth.page_match import PageTruth
from pipelines.truth.pages import final_sides

#: Rate -> what of `PageFound.counts` is divided by what, each summed over pages.
RATES = {
    "cer_with_blanks": ("spaced_errors", "spaced_characters"),
    "cer_without_blanks": ("errors", "characters"),
    "wer": ("word_errors", "words"),
}
#: The same in reading order.
RATES_IN_ORDER = {
    "ned": ("ordered_spaced_errors", "ordered_spaced_characters"),
    "cer_without_blanks": ("ordered_errors", "ordered_characters"),
    "wer": ("ordered_word_errors", "ordered_words"),
    "wrong_successors": ("wrong_successors", "successors"),
}


@dataclass(frozen=True)
class PageFound:
    """Errors of a page in characters and in words, for any order of its lines.

    Attributes:
        blanks: whether the truth's blanks count: `characters.spaced_*`.
        order: errors in reading order; None: the truth has no order.
    """

    characters: PageErrors
    word_errors: int
    words: int
    blanks: bool
    order: OrderErrors | None

    @property
    def wer(self) -> float:
        """Word error rate, 0..1; a blank page has 1 if anything was read there, else 0."""
        return min(1.0, self.word_errors / max(self.words, 1))

    @property
    def cer_with_blanks(self) -> float | None:
        """`PageErrors.spaced_cer`; None: the truth's blanks do not count."""
        return self.characters.spaced_cer if self.blanks else None

    @property
    def ned(self) -> float | None:
        """`OrderErrors.ned`; None: the truth has no order, or its blanks do not count."""
        return self.order.ned if self.order and self.blanks else None

    @property
    def main_errors(self) -> tuple[int, int]:
        """(wrong characters, characters of the truth), with blanks if they count."""
        return counted(self.characters, self.blanks)

    def counts(self) -> dict[str, int]:
        """Numbers whose sums over pages give the rates; 0 where the truth does not tell."""
        of, order = self.characters, self.order
        found = {
            "errors": of.errors,
            "characters": of.characters,
            "word_errors": self.word_errors,
            "words": self.words,
            "spaced_errors": of.spaced_errors if self.blanks else 0,
            "spaced_characters": of.spaced_characters if self.blanks else 0,
        }
        names = {name for rate in RATES_IN_ORDER.values() for name in rate}
        for name in names:
            known = order and (self.blanks or "spaced" not in name)
            found[name] = getattr(order, name.removeprefix("ordered_")) if known else 0
        return found


def found_on(row: FinishedPage, truth: PageTruth) -> PageFound:
    """Compare the final text of a row with its truth."""
    read, true = final_sides(row, truth)
    order = compare_in_order(read, true) if truth.order else None
    return PageFound(compare(read, true), *word_errors(read, true), truth.blanks, order)
