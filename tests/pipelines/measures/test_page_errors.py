"""The error rate of a page does not depend on order or splitting of its lines."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.measures.character_errors import TextLine, compare


def boxed(*rows: tuple[str, int, int]) -> list[TextLine]:
    """Lines (text, left, top), 10 px a character wide, 20 px high."""
    return [TextLine(t, (x, y, x + 10.0 * len(t), y + 20.0)) for t, x, y in rows]


TRUTH = boxed(("TOTAL 12.50", 0, 0), ("CASH", 0, 40), ("CHANGE", 200, 40))


@pytest.mark.parametrize(
    ("read", "errors"),
    [
        (boxed(("total 12.50", 0, 2), ("CASH", 1, 41), ("CHANGE", 199, 40)), 0),
        (boxed(("CHANGE", 200, 40), ("CASH", 0, 40), ("TOTAL 12.50", 0, 0)), 0),
        (boxed(("TOTAL", 0, 0), ("12.50", 60, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 0),
        (boxed(("TOTAL 12.5O", 0, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 1),
        (boxed(("TOTAL 12.50", 0, 0), ("CASH", 0, 40)), 6),
        (boxed(("TOTAL 12.50", 0, 0), ("CASH", 0, 40), ("CHANGE", 200, 40), ("##", 0, 90)), 2),
        ([], 20),
    ],
)
def test_by_place(read: list[TextLine], errors: int) -> None:
    found = compare(read, TRUTH)
    assert (found.errors, found.characters) == (errors, 20)


def test_a_missing_and_an_invented_line_are_told_from_a_wrong_one() -> None:
    found = compare(boxed(("TOTAL 12.5O", 0, 0), ("##", 0, 90)), TRUTH)
    assert {(one.place, one.errors, one.characters) for one in found.lines} == {
        (0, 1, 10),
        (1, 2, 2),
    }


def test_without_boxes_order_and_splits_are_free() -> None:
    read = [TextLine(text) for text in ("CHANGE", "TOTAL", "12.50 CASH")]
    truth = [TextLine(line.text) for line in TRUTH]
    assert compare(read, truth).errors == 0
    assert compare([*read[:2], TextLine("12.5O CASH")], truth).errors == 1


def test_boxes_of_another_page_are_not_believed() -> None:
    moved = [TextLine(one.text, (9000, 9000, 9100, 9020)) for one in TRUTH]
    assert compare(moved, TRUTH).errors == 0


def test_a_blank_page_has_all_or_nothing_wrong() -> None:
    assert compare([], []).cer == 0
    assert compare([TextLine("ghost")], []).cer == 1


words = st.lists(st.text("abcdef0123", min_size=1, max_size=12), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(words, st.integers(0, 1000))
def test_a_right_reading_in_any_order_has_no_errors(texts: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(texts, len(texts))
    found = compare([TextLine(t) for t in shuffled], [TextLine(t) for t in texts])
    assert found.errors == 0


@pytest.mark.parametrize(
    ("read", "errors", "spaced"),
    [
        (boxed(("TOTAL 12.50", 0, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 0, 0),
        (boxed((" TOTAL \t\u3000 12.50 ", 0, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 0, 0),
        (boxed(("TOTAL12.50", 0, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 0, 1),
        (boxed(("TO TAL 1 2.50", 0, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 0, 2),
        # Two pieces of a line are joined by a blank, which the truth has.
        (boxed(("TOTAL", 0, 0), ("12.50", 60, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 0, 0),
        (boxed(("TOT", 0, 0), ("AL 12.50", 35, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 0, 1),
        (boxed(("TOTAL12.5O", 0, 0), ("CASH", 0, 40), ("CHANGE", 200, 40)), 1, 2),
        ([], 20, 21),
    ],
)
def test_blanks_count_in_one_figure_only(read: list[TextLine], errors: int, spaced: int) -> None:
    found = compare(read, TRUTH)
    assert (found.errors, found.characters) == (errors, 20)
    assert (found.spaced_errors, found.spaced_characters) == (spaced, 21)


def test_a_line_that_holds_two_true_ones_has_a_blank_between_them() -> None:
    """A wide line of the reader, linked to both cells of the truth."""
    for text, spaced in (("CASH CHANGE", 0), ("CASHCHANGE", 1)):
        wide = TextLine(text, (0, 40, 260, 60))
        assert compare([*TRUTH[:1], wide], TRUTH).spaced_errors == spaced
        found = compare([TextLine(text)], [TextLine("CHANGE"), TextLine("CASH")])
        assert (found.errors, found.spaced_errors) == (0, spaced), "without boxes"


def test_a_line_knows_the_blanks_that_it_lost() -> None:
    found = compare(boxed(("TOTAL12.5O", 0, 0), ("# #", 0, 90)), TRUTH)
    assert {(one.place, one.spaced_errors, one.spaced_characters) for one in found.lines} == {
        (0, 2, 10),
        (1, 3, 3),
    }


pieces = st.lists(st.text("ab 1", min_size=1, max_size=9), max_size=6)


@settings(max_examples=150, deadline=None)
@given(pieces, pieces, st.booleans())
def test_letters_cost_the_same_in_both_figures(
    read: list[str], truth: list[str], placed: bool
) -> None:
    """Counting blanks only adds errors; a page of one line without blanks has the same ones."""

    def lines(texts: list[str]) -> list[TextLine]:
        boxes = [(10.0 * n, 12.0 * n, 10.0 * n + 90, 12.0 * n + 20) for n in range(len(texts))]
        return [TextLine(t, b if placed else None) for t, b in zip(texts, boxes, strict=True)]

    found = compare(lines(read), lines(truth))
    bare = [[text.replace(" ", "") for text in side] for side in (read, truth)]
    letters = compare(lines(bare[0]), lines(bare[1]))
    assert (found.errors, found.characters) == (letters.errors, letters.characters)
    assert found.spaced_errors >= found.errors
    assert letters.spaced_characters == letters.characters
    one = compare(lines(["".join(bare[0])]), lines(["".join(bare[1])]))
    assert (one.spaced_errors, one.spaced_characters) == (one.errors, one.characters)
