"""Texts in the forms that are compared, and edits between them: with and without blanks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein


class Edits(NamedTuple):
    """A number of edits without white space, and with runs of it as one blank."""

    plain: int
    spaced: int


def spaced_text(text: str) -> str:
    """NFKC, without case, one blank for a run of white space, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()


def without_blanks(spaced: str) -> str:
    """A text of `spaced_text` without its blanks."""
    return spaced.replace(" ", "")


def folded_text(text: str) -> str:
    """NFKC, without case and white space."""
    return without_blanks(spaced_text(text))


def between(one: str, other: str) -> Edits:
    """Edits from one text of `spaced_text` to another."""
    plain = Levenshtein.distance(without_blanks(one), without_blanks(other))
    return Edits(plain, Levenshtein.distance(one, other))


def total(edits: Iterable[Edits]) -> Edits:
    """The sum."""
    plain, spaced = 0, 0
    for one in edits:
        plain, spaced = plain + one.plain, spaced + one.spaced
    return Edits(plain, spaced)
