"""The order in which a person reads a page."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.ocr.reading_order import reading_order


def boxes(*rectangles: tuple[float, float, float, float]) -> np.ndarray:
    """(x, y, width, height) -> quads."""
    quads = [[[x, y], [x + w, y], [x + w, y + h], [x, y + h]] for x, y, w, h in rectangles]
    return np.array(quads, np.float32).reshape(-1, 4, 2)


LEFT = [(50.0, 100.0 + 30 * i, 300.0, 20.0) for i in range(8)]
RIGHT = [(400.0, 100.0 + 30 * i, 300.0, 20.0) for i in range(8)]


def shuffled(rectangles: list) -> tuple[np.ndarray, list[int]]:
    """The boxes in disorder, and the order that leads back."""
    mixed = np.random.default_rng(5).permutation(len(rectangles))
    return boxes(*[rectangles[i] for i in mixed]), [int(i) for i in np.argsort(mixed)]


def test_one_column_reads_downwards() -> None:
    quads, expected = shuffled(LEFT)
    assert indices(quads) == expected


def test_two_columns_read_one_after_the_other() -> None:
    quads, expected = shuffled(LEFT + RIGHT)
    assert indices(quads) == expected


def test_columns_whose_lines_do_not_stand_on_the_same_rows() -> None:
    quads, expected = shuffled(LEFT + [(x, y + 13, w, h) for x, y, w, h in RIGHT])
    assert indices(quads) == expected


def test_a_heading_across_two_columns_comes_first_and_a_footer_last() -> None:
    page = [(60.0, 20.0, 600.0, 40.0), *LEFT, *RIGHT, (60.0, 400.0, 600.0, 20.0)]
    quads, expected = shuffled(page)
    assert indices(quads) == expected


def test_three_columns_are_read_from_left_to_right() -> None:
    third = [(750.0, y, w, h) for _, y, w, h in LEFT]
    quads, expected = shuffled(LEFT + RIGHT + third)
    assert indices(quads) == expected


def test_a_receipt_reads_row_by_row() -> None:
    """Labels left, prices right: a gutter all the way down, and no columns."""
    rows = []
    for i in range(10):
        rows += [(40.0, 50.0 + 30 * i, 220.0, 20.0), (420.0, 52.0 + 30 * i, 70.0, 18.0)]
    quads, expected = shuffled(rows)
    assert indices(quads) == expected


def test_nothing_on_the_page() -> None:
    assert reading_order(boxes()) == []


def indices(quads: np.ndarray) -> list[int]:
    return [place.index for place in reading_order(quads)]


side = st.floats(1, 500, allow_nan=False)


@given(st.lists(st.tuples(side, side, side, side), max_size=40))
def test_every_line_is_read_once_whatever_the_layout(rectangles) -> None:
    assert sorted(indices(boxes(*rectangles))) == list(range(len(rectangles)))
