"""The order in which a person reads a page."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.lines import LineValue, page_text
from actors.ocr.order.doubt import order_doubt
from actors.ocr.reading_order import judged_order, reading_order
from pipelines.decisions.routing import Floors


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


def indices(quads: np.ndarray) -> list[int]:
    return [place.index for place in reading_order(quads)]


def turned(quads: np.ndarray, degrees: float) -> np.ndarray:
    """Clockwise, as a page lies askew on a scanner."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (quads @ np.array([[cos, sin], [-sin, cos]])).astype(np.float32)


def text_of(rectangles: list, texts: list[str]) -> str:
    """The text of a page of boxes and texts."""
    quads = boxes(*rectangles)
    lines: list[LineValue] = [
        {
            **{"text": texts[place.index], "score": 1.0, "polygon": []},
            **{"row": place.row, "column": place.column},
        }
        for place in reading_order(quads, texts)
    ]
    return page_text(lines)


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


@pytest.mark.parametrize("degrees", [-10, -3, 1, 3, 7, 10])
def test_columns_of_a_skewed_page(degrees: float) -> None:
    page = [(60.0, 20.0, 600.0, 40.0), *LEFT, *RIGHT, (60.0, 400.0, 600.0, 20.0)]
    quads, expected = shuffled(page)
    assert indices(turned(quads, degrees)) == expected


def test_one_odd_line_does_not_turn_the_page() -> None:
    quads, expected = shuffled(LEFT + RIGHT)
    quads[3] = turned(quads[3] - quads[3].mean(axis=0), 20) + quads[3].mean(axis=0)
    assert indices(quads) == expected


PROSE = """The river rose, and by
noon the bridge was
under water. Nobody in
Marlow had seen such a
flood before, nor did
they believe the old
miller, who had warned
them in the spring.""".splitlines()
ITEMS = ["Flour", "Candles, white", "Rope", "Lamp oil", "Soap", "Nails, two inches", "Tea", "Jam"]
TOWNS = ["Norden", "Whitcombe", "Ely", "Marlow", "Upper Tarn", "Linden", "Oak Vale", "Kestrel Bay"]
PRICES = ["7.60", "5.25", "8.40", "12.00", "3.10", "0.60", "4.75", "1.20"]


def test_prose_on_one_grid_is_read_by_columns_and_cells_by_rows() -> None:
    """The same boxes; the texts tell newspaper columns from a price list."""
    assert text_of(LEFT + RIGHT, PROSE * 2) == "\n".join(PROSE * 2)
    rows = zip(ITEMS, TOWNS, strict=True)
    assert text_of(LEFT + RIGHT, ITEMS + TOWNS) == "\n".join(map("\t".join, rows))


def test_columns_with_a_gutter_of_half_a_line() -> None:
    right = [(360.0, y, w, h) for _, y, w, h in RIGHT]
    assert text_of(LEFT + right, PROSE * 2) == "\n".join(PROSE * 2)


def test_cells_have_rows_and_columns_and_parts_of_a_line_are_joined_by_a_blank() -> None:
    amounts = [(20.0, y, 12.0, h) for _, y, _, h in LEFT]
    names = [(50.0, y, 140.0, h) for _, y, _, h in LEFT]
    prices = [(400.0, y + 3, 60.0, h) for _, y, _, h in LEFT]
    card = [(20.0, 360.0, 60.0, 20.0), (86.0, 360.0, 60.0, 20.0), (400.0, 363.0, 60.0, 20.0)]
    texts = [*"12345678", *ITEMS, *PRICES, "CARD", "4417", "43.90"]
    rows = list(map("\t".join, zip("12345678", ITEMS, PRICES, strict=True)))
    page = amounts + names + prices + card
    assert text_of(page, texts) == "\n".join([*rows, "CARD 4417\t43.90"])
    places = {place.index: place for place in reading_order(boxes(*page), texts)}
    assert [(places[n].row, places[n].column) for n in (0, 8, 16)] == [(0, 0), (0, 1), (0, 2)]
    assert (places[26].row, places[26].column) == (8, 2)  # below the prices


def test_rows_follow_bent_paper() -> None:
    """A photographed receipt: its right end is 0.8 of a line higher than its left end."""
    rows = []
    for i in range(10):
        y = 50.0 + 30 * i
        rows += [(40.0, y, 150.0, 22.0), (300.0, y - 6, 60.0, 22.0), (520.0, y - 15, 60.0, 22.0)]
    quads, expected = shuffled(rows)
    assert indices(quads) == expected


def test_cells_of_several_lines_stay_in_their_row() -> None:
    page, texts = [], []
    for row in range(4):
        top = 100.0 + 130 * row
        for x in (50.0, 400.0):
            page += [(x, top + 28 * i, (300.0, 290.0, 120.0)[i], 20.0) for i in range(3)]
            texts += PROSE[:3]
    assert indices(boxes(*page)) == list(range(len(page)))
    assert text_of(page, texts) == "\n".join(texts)


def test_a_header_and_a_page_number_beside_columns() -> None:
    """Both stand left of the gutter, as the left column does."""
    page = [(50.0, 20.0, 200.0, 16.0), *LEFT, *RIGHT, (50.0, 420.0, 30.0, 20.0)]
    assert text_of(page, ["Parish news", *PROSE, *PROSE, "17"]).endswith(PROSE[-1] + "\n17")


def test_vertical_lines_are_read_from_the_right_in_each_tier() -> None:
    tiers = [(700.0 - 60 * i, y, 30.0, 400.0) for y in (100.0, 560.0) for i in range(8)]
    texts = ["国破山河在城春草木深"] * 16
    quads, expected = shuffled(tiers)
    order = [place.index for place in reading_order(quads, texts)]
    assert order == expected
    title = (200.0, 20.0, 400.0, 40.0)
    assert text_of([*tiers, title], [*texts, "春望"]).startswith("春望\n国破山河在")


def test_tall_boxes_of_other_letters_are_no_vertical_text() -> None:
    tall = [(100.0 + 60 * i, 100.0, 30.0, 400.0) for i in range(4)]
    assert [p.index for p in reading_order(boxes(*tall), ["Dale Road, Upper Tarn"] * 4)] == [
        0,
        1,
        2,
        3,
    ]


side = st.floats(1, 500, allow_nan=False)


@settings(deadline=None)  # other work on the machine
@given(st.lists(st.tuples(side, side, side, side), max_size=40))
def test_every_line_is_read_once_whatever_the_layout(rectangles) -> None:
    assert sorted(indices(boxes(*rectangles))) == list(range(len(rectangles)))


texts = st.sampled_from(["Flour", "7.60", "国破山河", "the bridge was", "", "12 May 1924"])


@settings(deadline=None)  # other work on the machine
@given(st.lists(st.tuples(side, side, side, side, texts), max_size=30), st.floats(-45, 45))
def test_every_line_has_one_place_in_a_page_of_texts(lines, degrees) -> None:
    quads = turned(boxes(*[line[:4] for line in lines]), degrees)
    places = reading_order(quads, [line[4] for line in lines])
    assert sorted(place.index for place in places) == list(range(len(lines)))
    assert [place.row for place in places] == sorted(place.row for place in places)
    ends = {(place.row, place.column) for place in places}
    assert {row for row, _ in ends} == set(range(len({row for row, _ in ends})))
    for one, other in pairwise(places):
        assert one.row < other.row or one.column <= other.column


def test_a_misread_upright_sign_does_not_part_a_page() -> None:
    quads = boxes(*LEFT, (360.0, 190.0, 15.0, 24.0))
    places = reading_order(quads, [*PROSE, "十"])
    assert [place.index for place in places] == [0, 1, 2, 3, 8, 4, 5, 6, 7]


def doubt(*rectangles: tuple[float, float, float, float], degrees: float = 0.0) -> float | None:
    return judged_order(turned(boxes(*rectangles), degrees))[1]


def moved(rectangles: list, dx: float, dy: float) -> list:
    return [(x + dx, y + dy, w, h) for x, y, w, h in rectangles]


@pytest.mark.parametrize("degrees", [0.0, 3.0, -8.0])
def test_columns_and_rows_that_are_parted_well_are_not_in_doubt(degrees: float) -> None:
    assert doubt(*LEFT, degrees=degrees) == 0
    assert doubt(*LEFT, *RIGHT, degrees=degrees) == 0
    prices = [(600.0, y + 1, 60.0, h) for _, y, _, h in LEFT]
    assert doubt(*LEFT, *prices, degrees=degrees) == 0


def test_columns_that_nearly_touch_are_in_doubt() -> None:
    """Their gutter is 1 of 20 pixels wide: with wider boxes it is gone."""
    off = moved(RIGHT, -48.0, 9.0)
    assert (doubt(*LEFT, *off) or 0) > Floors().max_order_doubt


def test_a_page_with_less_than_two_lines_has_no_order() -> None:
    assert doubt() is None
    assert doubt(LEFT[0]) is None


def test_the_doubt_is_the_largest_share_of_other_next_lines() -> None:
    same, swapped = [0, 1, 2, 3, 4], [0, 2, 1, 3, 4]
    assert order_doubt(same, [same, same]) == 0
    assert order_doubt(same, [same, swapped]) == 0.75


def test_the_order_is_that_of_reading_order() -> None:
    quads = boxes(*LEFT, *RIGHT)[np.random.default_rng(2).permutation(16)]
    assert judged_order(quads)[0] == reading_order(quads)
