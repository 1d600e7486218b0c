"""Error rates of some pages: with blanks and without, and in reading order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.measures.intervals import Interval, Ints, Pages, ratio
from pipelines.truth.page_found import RATES, RATES_IN_ORDER, PageFound
from pipelines.truth.slices import known_interval

#: What the keys of the figures mean, for people.
LEGEND = {
    "cer_with_blanks": "wrong characters; a run of white space counts as one blank",
    "cer_without_blanks": "wrong characters, white space left out",
    "wer": "wrong words, as jiwer counts them",
    "in_order": "the same for the whole text of a page in reading order",
    "ned": "edits between the texts in order, blanks counted, by the characters of the truth",
    "wrong_successors": "share of lines that the next line of the truth does not follow",
    "unreliable_blanks": "pages whose truth has unreliable blanks: no cer_with_blanks, no ned, and "
    "some of their wrong words are faults of the truth",
    "unknown_order": "pages whose truth has no order: not in in_order",
}


@dataclass(frozen=True)
class OrderFigures:
    """Figures in reading order, of `pages` whose truth has an order. None: nothing to count.

    `wrong_successors`: share of the neighbouring true lines that are not neighbours as read.
    """

    pages: int
    ned: Interval | None
    cer_without_blanks: Interval | None
    wer: Interval | None
    wrong_successors: Interval | None


@dataclass(frozen=True)
class TextFigures:
    """Figures of some pages. None: nothing to count.

    Attributes:
        characters, words: of the truth; characters without white space.
        cer_with_blanks, cer_without_blanks, wer: of all pages together.
        exact: share of pages without wrong characters, white space left out.
        *_of_a_page: means over pages.
    """

    pages: int
    files: int
    characters: int
    words: int
    cer_with_blanks: Interval | None
    cer_without_blanks: Interval | None
    wer: Interval | None
    exact: Interval | None
    cer_with_blanks_of_a_page: Interval | None
    cer_without_blanks_of_a_page: Interval | None
    wer_of_a_page: Interval | None
    in_order: OrderFigures


class Figures:
    """Computes figures of some of the pages, always with the same draws."""

    def __init__(self, pages: Sequence[PageFound], uris: Sequence[str], seed: int) -> None:
        """Take the errors and the file of each page."""
        rows = [{**found.counts(), **_of_a_page(found)} for found in pages]
        self._counts = {name: np.array([row[name] for row in rows], float) for name in rows[0]}
        self._files = np.unique(uris, return_inverse=True)[1]
        errors, characters = self._counts["errors"], self._counts["characters"]
        self._draws = Pages(errors, characters, self._files).draws(seed)

    def of(self, members: Ints) -> TextFigures:
        """Figures of the pages with these indices."""
        here = np.zeros(len(self._files))
        here[members] = 1.0
        files = len(np.unique(self._files[members]))

        def rate(over: str, under: str) -> Interval | None:
            parts = self._counts[over] * here, self._counts[under] * here
            return known_interval(ratio(*parts, self._draws), files)

        return TextFigures(
            pages=len(members),
            files=files,
            characters=int(self._counts["characters"] @ here),
            words=int(self._counts["words"] @ here),
            **{name: rate(*parts) for name, parts in RATES.items()},
            exact=rate("exact", "page"),
            cer_with_blanks_of_a_page=rate("cer with blanks", "page with blanks"),
            cer_without_blanks_of_a_page=rate("cer", "page"),
            wer_of_a_page=rate("wer", "page"),
            in_order=OrderFigures(
                pages=int(self._counts["page with order"] @ here),
                **{name: rate(*parts) for name, parts in RATES_IN_ORDER.items()},
            ),
        )


def _of_a_page(found: PageFound) -> dict[str, float]:
    """Rates of a page, and what there is of it."""
    return {
        "page": 1,
        "page with blanks": found.blanks,
        "page with order": found.order is not None,
        "exact": found.characters.errors == 0,
        "cer": found.characters.cer,
        "cer with blanks": found.cer_with_blanks or 0,
        "wer": found.wer,
    }
