"""Batches of line crops: complete, bounded, and with less padding than in page order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.ocr.packing import pack, padded

WIDTHS = st.lists(st.integers(8, 3000), max_size=200)


@given(WIDTHS, st.integers(64, 8192))
def test_each_crop_is_in_exactly_one_batch_and_batches_are_bounded(widths, bound) -> None:
    batches = pack(widths, bound)
    assert sorted(i for batch in batches for i in batch) == list(range(len(widths)))
    for batch in batches:
        columns = max(padded(widths[i]) for i in batch) * len(batch)
        assert columns <= bound or len(batch) == 1


@given(WIDTHS)
def test_padding_within_a_batch_is_at_most_a_tenth(widths) -> None:
    for batch in pack(widths, 4096):
        widest = max(padded(widths[i]) for i in batch)
        assert all(widest <= 1.1 * padded(widths[i]) for i in batch)


def test_a_page_in_its_own_order_and_batches_of_six_costs_more() -> None:
    widths = [40, 700, 90, 650, 120, 300] * 8
    ours = sum(len(b) * max(padded(widths[i]) for i in b) for b in pack(widths, 4096))
    naive = sum(6 * max(320, *widths[i : i + 6]) for i in range(0, len(widths), 6))
    assert naive > 1.5 * ours
