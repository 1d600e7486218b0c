"""Order is measured by itself: neither missing text nor split lines look like a wrong order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.measures.character_errors import TextLine
from pipelines.measures.order_errors import compare_in_order, wrong_successors


def plain(*texts: str) -> list[TextLine]:
    return [TextLine(text) for text in texts]


def column(x: int, *texts: str) -> list[TextLine]:
    """Lines below each other, 30 px apart."""
    return [TextLine(t, (x, 30.0 * n, x + 150.0, 30.0 * n + 20)) for n, t in enumerate(texts)]


LEFT = ("the first line", "goes on here", "and ends")
RIGHT = ("a second column", "has its own", "last words")


@pytest.mark.parametrize(
    ("read", "truth", "wrong"),
    [
        (LEFT, LEFT, 0),
        (LEFT[::-1], LEFT, 2),
        (("goes on here", "the first line", "and ends"), LEFT, 2),
        (("the f1rst line", "g0es on here", "and ends"), LEFT, 0),
        ((*RIGHT, *LEFT), (*LEFT, *RIGHT), 1),
        (("the first line", "noise", "goes on here", "and ends"), LEFT, 0),
        (("the first", "line", "goes on here and ends"), LEFT, 0),
        (("the first", "goes on here", "line", "and ends"), LEFT, 2),
    ],
)
def test_successors_by_text(read: tuple[str, ...], truth: tuple[str, ...], wrong: int) -> None:
    assert wrong_successors(plain(*read), plain(*truth)) == (wrong, len(truth) - 1)


def test_rows_of_two_columns_read_across_have_no_right_successor() -> None:
    left, right = column(0, *LEFT), column(200, *RIGHT)
    across = [line for pair in zip(left, right, strict=True) for line in pair]
    assert wrong_successors(across, [*left, *right]) == (5, 5)
    assert wrong_successors([*left, *right], [*left, *right]) == (0, 5)


def test_equal_prices_belong_to_what_stands_beside_them() -> None:
    """Items, each with its price: two prices are equal, and nothing but the order tells them."""
    truth = plain("Flat white", "2.40", "Espresso", "2.40", "Water", "1.10")
    assert wrong_successors(truth, truth) == (0, 5)
    swapped = [*truth[2:4], *truth[:2], *truth[4:]]
    assert wrong_successors(swapped, truth) == (2, 5), "the two items changed places"
    apart = [*truth[::2], *truth[1::2]]
    assert wrong_successors(apart, truth)[0] >= 4, "all items, then all prices"
    boxed = [
        TextLine(
            one.text, (100.0 * (n % 2), 30.0 * (n // 2), 100.0 * (n % 2) + 90, 30.0 * (n // 2) + 20)
        )
        for n, one in enumerate(truth)
    ]
    assert wrong_successors([*boxed[2:4], *boxed[:2], *boxed[4:]], boxed) == (2, 5)


def test_lines_that_were_not_read_have_no_successor() -> None:
    assert wrong_successors(plain(LEFT[0], LEFT[2]), plain(*LEFT)) == (0, 1)
    assert wrong_successors([], plain(*LEFT)) == (0, 0)
    assert wrong_successors(plain("###", "@@@@@@"), plain(*LEFT)) == (0, 0)


def test_figures_in_order_by_hand() -> None:
    found = compare_in_order(plain("b c", "A"), plain("a", "b  c"))
    assert (found.spaced_errors, found.spaced_characters, found.ned) == (3, 5, 0.6)
    assert (found.errors, found.characters) == (2, 3)
    assert (found.word_errors, found.words) == (2, 3)
    assert (found.wrong_successors, found.successors) == (1, 1)
    glued = compare_in_order(plain("ab c"), plain("a", "b c"))
    assert (glued.errors, glued.spaced_errors) == (0, 1), "the end of a line is a blank"
    assert compare_in_order([], []).ned == 0
    assert compare_in_order(plain("ghost"), []).ned == 1


texts = st.lists(st.text("abcdefgh", min_size=3, max_size=12), min_size=1, max_size=8, unique=True)


@settings(max_examples=60, deadline=None)
@given(texts, st.booleans())
def test_a_right_order_has_no_wrong_successor(lines: list[str], placed: bool) -> None:
    truth = column(0, *lines) if placed else plain(*lines)
    assert wrong_successors(truth, truth) == (0, len(lines) - 1)
    found = compare_in_order(truth, truth)
    assert (found.errors, found.spaced_errors, found.word_errors) == (0, 0, 0)


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(0, 100))
def test_shuffled_lines_have_the_wrong_successors_that_they_have(
    lines: list[str], seed: int
) -> None:
    truth = column(0, *lines)
    order = random.Random(seed).sample(range(len(lines)), len(lines))
    at = {line: place for place, line in enumerate(order)}
    wrong = sum(at[n + 1] != at[n] + 1 for n in range(len(lines) - 1))
    read = [truth[place] for place in order]
    assert wrong_successors(read, truth) == (wrong, len(lines) - 1)
