"""Batches of line crops: complete, of one width, in few shapes, cheaper than page order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.ocr.pp_ocr.packing import TAIL, line_columns, pack
from actors.ocr.pp_ocr.shapes import LINE_WIDTHS, PAGE_SIDES

NATURAL = st.lists(st.floats(1, 4000), max_size=200)


@given(NATURAL, st.integers(1, 32))
def test_each_crop_is_in_exactly_one_batch_of_one_width(natural, size) -> None:
    widths = [line_columns(width) for width in natural]
    batches = pack(widths, size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(widths)))
    for batch in batches:
        assert len(batch) in (1, size)
        assert len({widths[i] for i in batch}) == 1


@given(st.floats(144, 4000))
def test_a_line_changes_its_scale_by_a_few_per_cent_at_most(natural) -> None:
    assert abs(line_columns(natural) + TAIL - natural - TAIL) <= 0.075 * (natural + TAIL)


@given(NATURAL)
def test_few_shapes_whatever_comes(natural) -> None:
    widths = [line_columns(width) for width in natural]
    shapes = {(len(b), widths[b[0]]) for b in pack(widths, 4)}
    assert len(shapes) <= 2 * len(LINE_WIDTHS.sizes) <= 100


def test_sizes_are_what_the_networks_take() -> None:
    assert all(size % 16 == 0 for size in LINE_WIDTHS.sizes)
    assert all(size % 32 == 0 for size in PAGE_SIDES.sizes)


def test_a_page_in_its_own_order_and_batches_of_six_costs_more() -> None:
    natural = [40, 700, 90, 650, 120, 300] * 8
    widths = [line_columns(width) for width in natural]
    ours = sum(len(b) * (widths[b[0]] + TAIL) for b in pack(widths, 4))
    naive = sum(6 * max(320, *natural[i : i + 6]) for i in range(0, len(natural), 6))
    assert naive > 1.4 * ours
