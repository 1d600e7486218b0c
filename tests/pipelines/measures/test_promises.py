"""Bounds hold as often as they say, floors promise no less than any stricter one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.measures.intervals import Pages
from pipelines.measures.promises import (
    Promise,
    _up,
    files_needed,
    promise_for,
    promises,
    upper_bound,
)


def pages_of(rates: list[float], files: list[int] | None = None) -> Pages:
    characters = np.full(len(rates), 100.0)
    number = np.arange(len(rates)) if files is None else np.array(files)
    return Pages(np.array(rates) * 100, characters, number)


@pytest.mark.parametrize("files", [20, 60])
@pytest.mark.parametrize(
    ("spread", "clean"), [(0.5, 0.0), (0.9, 0.1)], ids=["alike", "heavy tail, clean pages"]
)
def test_the_bound_holds_as_often_as_it_says(files: int, spread: float, clean: float) -> None:
    random = np.random.default_rng(0)
    true = (1 - clean) * 0.01 * np.exp(spread**2 / 2)
    held = 0
    for _ in range(500):
        rates = 0.01 * random.lognormal(0, spread, files) * (random.random(files) >= clean)
        characters = random.gamma(18, 30, files).round() + 20
        errors = random.binomial(characters.astype(int), rates)
        held += upper_bound(errors.astype(float), characters, 0.9) >= true
    assert 0.87 <= held / 500 <= 0.98


def test_a_bound_shrinks_with_more_files_and_grows_with_the_confidence() -> None:
    errors, characters = np.array([0.0, 1, 2, 5]), np.full(4, 100.0)
    bound = upper_bound(errors, characters, 0.9)
    assert 0.02 < upper_bound(np.tile(errors, 9), np.tile(characters, 9), 0.9) < bound
    assert bound < upper_bound(errors, characters, 0.99)
    assert upper_bound(errors[:1], characters[:1], 0.9) == np.inf


def test_pages_of_one_file_count_as_one() -> None:
    rates = [0.0, 0.0, 0.02, 0.02, 0.04, 0.04] * 8
    loose = promises(np.zeros(48), pages_of(rates), 0.9)[-1]
    by_file = [number for number in range(24) for _ in range(2)]
    tied = promises(np.zeros(48), pages_of(rates, by_file), 0.9)[-1]
    assert tied.expected_cer == loose.expected_cer == 0.02
    assert tied.promised_cer > loose.promised_cer + 0.001


def test_a_strict_floor_that_fails_ends_the_sequence() -> None:
    """The first of the pages are bad: what follows promises no less than they do."""
    rates = [0.1] * 20 + [0.0] * 80
    found = promises(np.arange(100) / 1000, pages_of(rates), 0.9)
    assert min(one.promised_cer for one in found) >= 0.1
    assert (found[-1].share, found[-1].expected_cer) == (1.0, 0.02)
    assert len(found) == 2, "of floors with the same promise only the loosest stays"


def test_pages_worse_than_the_sample_are_in_no_floor_and_few_files_promise_nothing() -> None:
    values = np.append(np.full(20, 0.01), np.full(20, 1.2))
    (only,) = promises(values, pages_of([0.0] * 40), 0.9)
    assert (only.floor, only.share) == (0.01, 0.5)
    assert promises(values[:7], pages_of([0.0] * 7), 0.9) == ()


def test_floors_that_round_to_the_same_are_one() -> None:
    """The first is the failing case of CI: estimates of 1e-134 and 7e-18 both round up to 1e-6."""
    values = np.array([0.0] * 8 + [7.355018593937362e-18, 1.791323218737991e-134])
    found = promises(values, pages_of([0.0] * 8 + [0.25, 0.0]), 0.9)
    assert [one.floor for one in found] == [0.0, 1e-6]
    assert found[-1].share == 1.0


def test_rounding_up_keeps_the_page_and_does_not_creep() -> None:
    values = np.arange(2000) / 1e6 + np.array([[0.0], [1e-19], [1e-8]])
    (found,) = promises(np.full(40, 0.019381), pages_of([0.0] * 40), 0.9)
    assert found.floor == 0.019381
    for value in values.ravel():
        up = _up(value)
        assert value <= up < value + 1.001e-6
        assert _up(up) == up


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1.5), st.floats(0, 0.3)), min_size=8, max_size=60))
def test_promises_rise_with_the_floor(pairs: list[tuple[float, float]]) -> None:
    values = np.array([value for value, _ in pairs])
    found = promises(values, pages_of([rate for _, rate in pairs]), 0.9)
    for name in ("floor", "promised_cer", "share"):
        rising = [getattr(one, name) for one in found]
        assert rising == sorted(set(rising))
    for one in found:
        assert one.expected_cer <= one.promised_cer
        looked_up = promise_for(found, one.promised_cer)
        assert looked_up == one


def test_a_target_is_looked_up_or_needs_more_files() -> None:
    found = (
        Promise(floor=0.01, promised_cer=0.02, expected_cer=0.01, share=0.3),
        Promise(floor=0.02, promised_cer=0.03, expected_cer=0.018, share=0.6),
    )
    assert promise_for(found, 0.025) == found[0]
    assert promise_for(found, 0.03) == found[1]
    assert promise_for(found, 0.019) is None
    assert files_needed(found, 60, 0.015) == (240, 0.3)
    assert files_needed(found, 60, 0.019) == (75, 0.3)
    assert files_needed(found, 60, 0.01) is None
