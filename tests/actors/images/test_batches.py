"""Batches that fit into memory: results in order, and sizes that did not fit are remembered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from doubles.runs_out_of_memory_above import RunsOutOfMemoryAbove
from hypothesis import given
from hypothesis import strategies as st

from actors.images.batches import PATIENCE, Fitting, halving, parts


class Device:
    """Doubles its items; items of `weight` each find memory for a total of `room`."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.weight = 1
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.sizes.append(len(items))
        if self.weight * len(items) > self.room:
            raise torch.OutOfMemoryError(f"{len(items)} items of {self.weight}")
        return [2 * item for item in items]


def sizes(device: Device, fitting: Fitting[int, int], count: int, weight: int = 1) -> list[int]:
    """The sizes of the batches that `count` items of this weight went through."""
    device.weight, device.sizes = weight, []
    found = fitting(range(count), weight)
    assert found == [2 * item if weight <= device.room else None for item in range(count)]
    return device.sizes


def test_a_batch_that_does_not_fit_is_halved_and_one_item_that_does_not_is_none() -> None:
    forward = RunsOutOfMemoryAbove(2)
    assert halving(forward, [1, 2, 3, 4, 5]) == [2, 4, 6, 8, 10]
    assert forward.sizes == [5, 2, 2, 1]
    assert halving(RunsOutOfMemoryAbove(0), [1, 2]) == [None, None]
    assert halving(forward, []) == []


def test_the_next_batch_starts_below_the_size_that_did_not_fit() -> None:
    device = Device(room=5)
    fitting: Fitting[int, int] = Fitting(device, size=16)
    assert sizes(device, fitting, 16) == [16, 8, 4, 4, 4, 4]
    assert sizes(device, fitting, 10) == [4, 4, 2]
    assert sizes(device, fitting, 3) == [3]


def test_a_size_learnt_from_heavy_items_does_not_hinder_light_ones() -> None:
    device = Device(room=32)
    fitting: Fitting[int, int] = Fitting(device)
    assert sizes(device, fitting, 8, weight=8) == [8, 4, 4]
    assert sizes(device, fitting, 32, weight=1) == [32]
    assert sizes(device, fitting, 8, weight=8) == [4, 4]


def test_a_size_learnt_from_light_items_holds_for_heavy_ones() -> None:
    device = Device(room=32)
    fitting: Fitting[int, int] = Fitting(device)
    assert sizes(device, fitting, 40, weight=1) == [40, 20, 20]
    assert sizes(device, fitting, 6, weight=8) == [2, 2, 2]
    assert sizes(device, fitting, 2, weight=40) == [1, 1]  # more than there is
    assert sizes(device, fitting, 20, weight=1) == [20]


def test_a_larger_batch_is_tried_again_ever_more_rarely() -> None:
    device = Device(room=5)
    fitting: Fitting[int, int] = Fitting(device, size=8)
    assert sizes(device, fitting, 4 * PATIENCE) == [8] + PATIENCE * [4]
    assert sizes(device, fitting, 16) == [8, 4, 4, 4, 4]
    assert sizes(device, fitting, 4 * (2 * PATIENCE - 4)) == (2 * PATIENCE - 4) * [4]
    device.room = 8  # what another process took has been freed
    assert sizes(device, fitting, 16) == [8, 8]


def test_other_errors_are_not_swallowed() -> None:
    def fails(items: Sequence[int]) -> list[int]:
        raise ValueError("not of memory")

    with pytest.raises(ValueError, match="not of memory"):
        Fitting(fails)([1])


calls = st.tuples(st.integers(0, 40), st.integers(1, 9))


@given(room=st.integers(0, 60), size=st.integers(1, 20), calls=st.lists(calls, max_size=30))
def test_results_are_those_of_one_item_at_a_time(
    room: int, size: int, calls: list[tuple[int, int]]
) -> None:
    device = Device(room)
    fitting: Fitting[int, int] = Fitting(device, size)
    for count, weight in calls:
        tried = sizes(device, fitting, count, weight)
        assert max(tried, default=0) <= size
        assert len(tried) <= 2 * count + 6


def test_parts_keep_the_order() -> None:
    assert parts([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
