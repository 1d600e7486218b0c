"""Errors of a page in reading order, for truth whose lines are in that order.

* The whole text of the page is one string: its lines joined by blanks. The edits between both
  strings, divided by the characters of the truth, are the normalised edit distance (NED) of the
  page, at most 1. A line at another place costs up to twice its length.
* A *wrong successor* is a true line that is not read right before the line that follows it in the
  truth. Lines are found again by their place, or by their text; both sides may split and join them.
  Lines that only one side has are left out, so that order is told from missing text: a page that
  was not read at all has no successors.

Equal lines, such as the prices of a list, are told apart by what is next to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from pipelines.measures.character_errors import Group, TextLine, groups_by_place
from pipelines.measures.cut_out import cut_out
from pipelines.measures.text_edits import between, spaced_text, without_blanks
from pipelines.measures.word_errors import word_distance

#: Fewest characters of a part of a line that finds its place by text. Shorter ones are anywhere.
_LEAST = 3


@dataclass(frozen=True)
class OrderErrors:
    """Errors of one page in reading order. `spaced_*`: with runs of white space as one blank.

    Attributes:
        errors, characters: edits, and characters of the truth, without white space.
        word_errors, words: wrong, missed and invented words as jiwer counts them, words of the
            truth.
        wrong_successors, successors: see the docstring of this module.
    """

    errors: int
    characters: int
    spaced_errors: int
    spaced_characters: int
    word_errors: int
    words: int
    wrong_successors: int
    successors: int

    @property
    def ned(self) -> float:
        """Normalised edit distance with blanks, 0..1: by the characters of the truth."""
        return min(1.0, self.spaced_errors / max(self.spaced_characters, 1))


#: A part of a line: the line, and its first character there.
_Part = tuple[int, int]


class _Link(NamedTuple):
    """A part of a true line, and the same part of a read line."""

    truth: _Part
    read: _Part


def compare_in_order(read: Sequence[TextLine], truth: Sequence[TextLine]) -> OrderErrors:
    """Compare the lines of a page; both sides are in their order."""
    ours, theirs = (" ".join(line.text for line in side) for side in (read, truth))
    ours, theirs = spaced_text(ours), spaced_text(theirs)
    edits, words = between(ours, theirs), theirs.split()
    return OrderErrors(
        edits.plain,
        len(without_blanks(theirs)),
        edits.spaced,
        len(theirs),
        word_distance(ours.split(), words),
        len(words),
        *wrong_successors(read, truth),
    )


def wrong_successors(read: Sequence[TextLine], truth: Sequence[TextLine]) -> tuple[int, int]:
    """(wrong, all) pairs of true lines that follow each other, among the lines that were read."""
    ours, theirs = _with_text(read), _with_text(truth)
    groups = groups_by_place(ours, theirs)
    if groups:
        links = sorted(_links(ours, theirs, groups))
    else:
        everything = list(range(len(ours))), list(range(len(theirs)))
        links = _told_apart(sorted(_links(ours, theirs, [everything])), theirs)
    rank = {link.read: place for place, link in enumerate(sorted(links, key=lambda one: one.read))}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for link in links:
        first.setdefault(link.truth[0], rank[link.read])
        last[link.truth[0]] = rank[link.read]
    pairs = list(pairwise(sorted(first)))
    return sum(first[after] != last[before] + 1 for before, after in pairs), len(pairs)


def _with_text(lines: Sequence[TextLine]) -> list[TextLine]:
    folded = [TextLine(spaced_text(line.text), line.box) for line in lines]
    return [line for line in folded if line.text]


def _links(
    ours: Sequence[TextLine], theirs: Sequence[TextLine], groups: Sequence[Group]
) -> Iterator[_Link]:
    for mine, yours in groups:
        if len(mine) == len(yours) == 1 and len(groups) > 1:
            yield _Link((yours[0], 0), (mine[0], 0))
        elif mine and yours:
            read, truth = [ours[at].text for at in mine], [theirs[at].text for at in yours]
            for fit in cut_out(read, truth).fits:
                whole = fit.read.text == read[fit.read.line]
                whole &= fit.truth.text == truth[fit.truth.line]
                if whole or min(len(fit.read.plain), len(fit.truth.plain)) >= _LEAST:
                    yield _Link(
                        (yours[fit.truth.line], fit.truth.start),
                        (mine[fit.read.line], fit.read.start),
                    )


def _told_apart(links: Sequence[_Link], theirs: Sequence[TextLine]) -> list[_Link]:
    """Give equal true parts the read parts whose neighbours are theirs, else those in order.

    `links`: in the order of the truth.
    """
    reads = sorted(link.read for link in links)
    beside = {-1: dict(zip(reads[1:], reads, strict=False)), 1: dict(pairwise(reads))}
    names = [(theirs[link.truth[0]].text, link.truth[1]) for link in links]
    free = defaultdict[tuple[str, int], list[_Part]](list)
    for name, link in sorted(zip(names, links, strict=True), key=lambda one: one[1].read):
        free[name].append(link.read)
    known = {n: link.read for n, link in enumerate(links) if len(free[names[n]]) == 1}
    for step in (-1, 1, 0):  # after the part before, before the part after, anywhere
        for place in range(len(links)):
            neighbour = known.get(place + step)
            if place in known or (step and neighbour is None):
                continue
            parts = free[names[place]]
            fits = [part for part in parts if not step or beside[step].get(part) == neighbour]
            if fits:
                known[place] = fits[0]
                parts.remove(fits[0])
    return [_Link(link.truth, known[place]) for place, link in enumerate(links)]
