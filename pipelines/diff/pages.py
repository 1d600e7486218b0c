"""What became of the text of one page from one run to another."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TypedDict

from rapidfuzz.distance import Levenshtein

from pipelines.measures.character_errors import folded_text

#: Lines of a unified diff that are kept, and characters of each.
_LINES, _CHARACTERS = 12, 160
#: Longer texts are not compared line by line: difflib is quadratic in them.
_MOST_LINES = 3000


class TextChange(TypedDict):
    """The value `text` of a line of the written diff. `characters`: before and after."""

    characters: list[int]
    distance: int
    distance_folded: int
    diff: list[str]


@dataclass(frozen=True)
class TextDiff:
    """Of one page whose text changed.

    Attributes:
        characters: of the text before and after; a page without text has none.
        distance: characters inserted, deleted and substituted.
        folded: the same without spacing and case; 0: nothing else changed.
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
    """None where nothing changed; no text is an empty one."""
    one, other = before or "", after or ""
    if one == other:
        return None
    return TextDiff(
        characters=(len(one), len(other)),
        distance=Levenshtein.distance(one, other),
        folded=Levenshtein.distance(folded_text(one), folded_text(other)),
        lines=tuple(_unified(one.splitlines(), other.splitlines())),
    )


def _unified(before: list[str], after: list[str]) -> list[str]:
    if max(len(before), len(after)) > _MOST_LINES:
        return [f"({len(before):,} and {len(after):,} lines)"]
    changed = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    shown = [line[:_CHARACTERS] for line in changed[:_LINES]]
    left = len(changed) - len(shown)
    return [*shown, f"... {left} lines more"] if left else shown
