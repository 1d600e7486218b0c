"""Whether the glyphs of a font are those that the text layer says. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pipelines.pages.text_layer.fonts.templates import Evidence

#: A glyph contradicts its claim if another letter is at most half as far away (squared), and near
#: enough to be that letter. Of right glyphs in unseen typefaces 0.7 % do so, of wrong ones 89 %;
#: of handwriting and display faces 6 % and 23 %.
_CLOSER, _APART, _NEAR = 2.0, 30.0, 80.0
#: The same with more certainty: 0.3 % and 78 %.
_STRICT_CLOSER, _STRICT_APART, _STRICT_NEAR = 2.5, 40.0, 60.0
#: Fewest contradictions, and their share of the judged glyphs, for a font or a class of characters.
_FEWEST, _SHARE = 4, 0.5
#: The same for three alone, as in a heading of few letters or a column of few digits.
_FEW, _LARGE_SHARE = 3, 0.75
#: Of handwriting and other display faces, no glyph is sure, but many together are. The mean rank of
#: right letters is at most 0.24 in 24 of them and 0.30 in 16; of wrong ones it is 0.33 on average.
_MANY, _FAR_RANK = 16, 0.28
_FAR = 0.1  # rank of a letter that is far from its glyph
#: Distance to the exchanged letter against that to the nearest one.
_SAME = 1.3

#: Squared distance from the glyph of the first character to the templates of the second.
Distance = Callable[[str, str], float]


def contradicts(one: Evidence) -> bool:
    """Whether the glyph is another letter than the layer says."""
    return one.own > _CLOSER * one.best and one.own - one.best > _APART and one.best < _NEAR


def _surely(one: Evidence) -> bool:
    return (
        one.own > _STRICT_CLOSER * one.best
        and one.own - one.best > _STRICT_APART
        and one.best < _STRICT_NEAR
    )


def wrong_characters(
    evidence: Sequence[Evidence], distance: Callable[[str, str], float]
) -> set[str]:
    """Characters of one font that draw others; empty for a font that is right or unclear.

    1. Half of the font's characters are contradicted, or half of a class (digits, capitals, small
       letters, marks): all contradicted ones are wrong.
    2. Of many letters, or many of a class, the claimed ones are hardly nearer than any others.
    3. Characters that are exchanged among themselves (a is drawn as e, and e as something else)
       are wrong, be they only two.
    """
    wrong: set[str] = set()
    for group in (evidence, *_classes(evidence)):
        against = [one.char for one in group if contradicts(one)]
        share = len(against) / max(1, len(group))
        if (len(against) >= _FEWEST and share >= _SHARE) or (
            len(against) >= _FEW and share >= _LARGE_SHARE
        ):
            wrong.update(against)
        letters = [one for one in group if one.char.isalnum()]
        if len(letters) >= _MANY and sum(one.rank for one in letters) > _FAR_RANK * len(letters):
            wrong.update(one.char for one in letters if one.rank > _FAR)
    return wrong | _exchanged([one for one in evidence if _surely(one)], distance)


def _classes(evidence: Iterable[Evidence]) -> list[list[Evidence]]:
    """Digits, capitals, small letters, other letters and marks."""
    classes: dict[str, list[Evidence]] = {}
    for one in evidence:
        char = one.char
        case = "upper" if char.isupper() else "lower" if char.islower() else "letter"
        kind = "digit" if char.isdigit() else case if char.isalpha() else "mark"
        classes.setdefault(kind, []).append(one)
    return list(classes.values())


def _exchanged(sure: Sequence[Evidence], distance: Distance) -> set[str]:
    """Contradicted characters whose glyph is another contradicted character."""
    found: set[str] = set()
    for one in sure:
        for other in sure:
            if one is not other and distance(one.char, other.char) < _SAME * one.best:
                found |= {one.char, other.char}
    return found
