"""Text differences of one page between two runs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TypedDict

from rapidfuzz.distance import Levenshtein

from pipelines.measures.text_edits import folded_text

#: Most lines of a unified diff, and most characters of each.
_LINES, _CHARACTERS = 12, 160
#: Longer texts are not compared line by line: difflib takes quadratic time.
_MOST_LINES = 3000


class TextChange(TypedDict):
    """The key `text` in the output of `nightjar diff --out`. `characters`: [before, after]."""

    characters: list[int]
    distance: int
    distance_folded: int
    diff: list[str]


@dataclass(frozen=True)
class TextDiff:
    """Text differences of one page.

    Attributes:
        characters: of the text before and after; 0 for a page without text.
        distance: characters inserted, deleted and substituted.
        folded: the same without spacing and case; 0: only these changed.
        lines: a short unified diff, without context.
    """

    characters: tuple[int, int]
    distance: int
    folded: int
    lines: tuple[str, ...]

    def as_dict(self) -> TextChange:
        """For JSON."""
        return {
            "characters": list(self.characters),
            "distance": self.distance,
            "distance_folded": self.folded,
            "diff": list(self.lines),
        }


def diff_text(before: str | None, after: str | None) -> TextDiff | None:
    """The differences of two texts; None: they are equal. A missing text counts as empty."""
    one, other = before or "", after or ""
    if one == other:
        return None
    return TextDiff(
        characters=(len(one), len(other)),
        distance=Levenshtein.distance(one, other),
        folded=Levenshtein.distance(folded_text(one), folded_text(other)),
        lines=tuple(_unified(one.split("\n"), other.split("\n"))),
    )


def _unified(before: list[str], after: list[str]) -> list[str]:
    if max(len(before), len(after)) > _MOST_LINES:
        return [f"({len(before):,} and {len(after):,} lines)"]
    changed = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    shown = [line[:_CHARACTERS] for line in changed[:_LINES]]
    left = len(changed) - len(shown)
    return [*shown, f"... {left} lines more"] if left else shown
