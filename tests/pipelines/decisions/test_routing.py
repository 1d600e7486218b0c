"""Fail closed: a page without proof of quality goes to review."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decisions.error_model import Calibration
from pipelines.decisions.routing import (
    Floors,
    calibrated_doubts,
    doubts,
    measured,
    reasons_of_failure,
)

FLOORS = Floors()


def line(text: str, score: float | None) -> dict[str, Any]:
    return {"text": text, "score": score, "polygon": [0.0] * 8}


def whole(ink: float | None = 0.1, covered: float | None = 0.9, outside: float | None = None):
    return {"ink_share": ink, "ink_covered": covered, "text_outside": outside}


def judged(lines: list[dict[str, Any]], *of_page: float | None, covered: float | None = 0.9):
    page = whole(*of_page) if of_page else whole(covered=covered)
    return doubts(measured(lines, FLOORS, page), FLOORS, blank_ink_share=0.002)


def test_a_clean_page_has_no_doubts() -> None:
    assert judged([line("INVOICE 2026", 0.99), line("TOTAL 12.50", 0.97)]) == []


@pytest.mark.parametrize(
    ("lines", "ink", "covered", "reason"),
    [
        ([], 0.1, 0.0, "no_text_found"),
        ([], 0.0001, None, "blank_page"),
        ([line("", 0.9)], 0.1, 0.9, "no_text_found"),
        ([line("TOTAL", None)], 0.1, 0.9, "no_scores"),
        ([line("TOTAL", 0.99), line("12.50", None)], 0.1, 0.9, "lines_without_score"),
        ([line("a long good line", 0.99), line("weak weak", 0.5)], 0.1, 0.9, "too_many_weak_lines"),
        ([line("TOTAL", 0.85)], 0.1, 0.9, "mean_score_below_floor"),
        ([line("TOTAL", 0.99)], 0.1, 0.2, "ink_not_covered"),
        ([line("TOTAL", 0.99)], 0.1, None, "ink_not_covered"),
        ([line("T\ufffdT\ufffdL", 0.99)], 0.1, 0.9, "garbled_text"),
    ],
)
def test_each_doubt_has_its_name(lines, ink, covered, reason) -> None:
    assert reason in judged(lines, ink, covered)


def test_ink_outside_lines_is_a_doubt_only_if_nothing_better_tells_of_missed_text() -> None:
    """The ink of forms and logos is no missed text, and the detector sees text as text."""
    page = [line("INVOICE 2026", 0.99), line("TOTAL 12.50", 0.97)]
    assert judged(page, 0.1, 0.5, None) == ["ink_not_covered"]
    assert judged(page, 0.1, 0.5, 0.0) == []
    assert judged(page, 0.1, 0.5, 0.04) == ["text_outside_lines"]
    assert judged(page, 0.1, None, 0.0) == []
    assert judged(page, 0.1, None, None) == ["ink_not_covered"]


def test_lines_that_the_detector_half_saw_are_a_doubt_however_much_ink_is_explained() -> None:
    page = [line("INVOICE 2026", 0.99), line("TOTAL 12.50", 0.97)]
    assert judged(page, 0.1, 0.95, 0.019) == []
    assert judged(page, 0.1, 0.95, 0.04) == ["text_outside_lines"]


def test_lines_of_white_space_are_unread_lines() -> None:
    page = [line("a good line of text", 0.99)] + [line("   ", 0.99)] * 9
    assert judged(page) == ["too_many_weak_lines"]
    assert judged([line(" \u3000 ", 0.99)]) == ["no_text_found"]


@pytest.mark.parametrize(
    ("share", "limit", "reason"),
    [
        ("unread_script", FLOORS.max_unread_script, "script_not_readable"),
        ("unread_letters", FLOORS.max_unread_letters, "letters_not_readable"),
        ("unread_ink", FLOORS.max_unread_ink, "line_ink_not_read"),
    ],
)
def test_text_that_the_reader_cannot_read_is_a_doubt_also_with_a_calibration(
    share: str, limit: float, reason: str
) -> None:
    lines = [line("INVOICE 2026", 0.99), line("TOTAL 12.50", 0.97)]
    for value, expected in ((None, []), (limit, []), (limit + 0.01, [reason])):
        evidence = measured(lines, FLOORS, whole() | {share: value})
        assert doubts(evidence, FLOORS, 0.002) == expected
        sure = replace(evidence, expected_cer=0.0)
        sees_all = Calibration.model_construct(features=("text_outside",), coefficients=(0.0,))
        assert calibrated_doubts(sure, FLOORS, 0.002, 0.05, sees_all) == expected
    nothing = measured([line("", None)], FLOORS, whole() | {share: 1.0})
    assert doubts(nothing, FLOORS, 0.002) == ["no_text_found", reason]


def test_an_uncertain_order_is_a_doubt_also_with_a_calibration() -> None:
    lines = [line("INVOICE 2026", 0.99), line("TOTAL 12.50", 0.97)]
    limit = FLOORS.max_order_doubt
    for value, expected in ((None, []), (limit, []), (limit + 0.01, ["order_uncertain"])):
        evidence = measured(lines, FLOORS, whole() | {"order_doubt": value})
        assert doubts(evidence, FLOORS, 0.002) == expected
        sure = replace(evidence, expected_cer=0.0)
        sees_all = Calibration.model_construct(features=("text_outside",), coefficients=(0.0,))
        assert calibrated_doubts(sure, FLOORS, 0.002, 0.05, sees_all) == expected


def test_a_good_mean_does_not_hide_weak_lines() -> None:
    page = [line("x" * 60, 0.99)] * 8 + [line("y" * 60, 0.6)] * 2
    evidence = measured(page, FLOORS, whole())
    assert evidence.mean_score is not None
    assert evidence.mean_score > FLOORS.mean_score
    assert "too_many_weak_lines" in doubts(evidence, FLOORS, 0.002)


def test_failures_become_reasons_in_stage_order() -> None:
    assert reasons_of_failure(None, {"kind": "ENGINE_FAULT", "message": ""}) == ["ENGINE_FAULT"]
    assert reasons_of_failure(None, None) == []


scores = st.one_of(st.none(), st.floats(0, 1, width=32))


@given(st.lists(st.tuples(st.text(max_size=20), scores), max_size=20), st.floats(0, 1))
def test_weaker_lines_never_make_a_page_more_trusted(page, covered) -> None:
    """Monotone: lowering every score never removes a doubt about scores."""
    before = judged([line(t, s) for t, s in page], covered=covered)
    lowered = [line(t, None if s is None else s / 2) for t, s in page]
    after = judged(lowered, covered=covered)
    assert not (before and not after)
