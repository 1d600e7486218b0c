"""Pages whose document is not on them: review, whatever was read."""

from __future__ import annotations

from typing import Any

import pytest

from actors.lines import LineValue
from pipelines.decisions.routing import RoutingConfig
from pipelines.decisions.settling import (
    PageEscalated,
    PageToSettle,
    PageToWeigh,
    settle_page,
    settle_second,
    weigh_page,
)

CONFIG = RoutingConfig()
NOTES = [("dynamic_form", "dynamic_form"), ("portfolio", "attachments")]


def line(text: str, score: float) -> LineValue:
    return {"text": text, "score": score, "polygon": [0.0, 0.0, 9.0, 0.0, 9.0, 2.0, 0.0, 2.0]}


def read(notes: list[str] | None, *, score: float = 0.99, **more: Any) -> PageToSettle:
    """A page that OCR has read, weighed."""
    page: PageToWeigh = {
        "native_text": None,
        "native_lines": None,
        "notes": notes,
        "fetch_failure": None,
        "ocr_lines": [line(f"Please wait {n}", score) for n in range(5)],
        "ocr_engine": "rapid_ocr",
        "ocr_failure": None,
        "ink_share": 0.05,
        "ink_covered": 1.0,
        "text_outside": 0.0,
    }
    return {**page, **weigh_page(page, CONFIG), **more}  # type: ignore[typeddict-item]


def escalated(page: PageToSettle) -> PageEscalated:
    """Its second reading says the same."""
    text = "\n".join(one["text"] or "" for one in page["ocr_lines"] or [])
    answer = {"vlm_text": text, "vlm_lines": None, "vlm_model": "m", "vlm_failure": None}
    return {**page, **answer}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(("note", "reason"), NOTES)
def test_a_good_reading_of_such_a_page_goes_to_review(note: str, reason: str) -> None:
    settled = settle_page(read(["hidden_text", note]))
    assert (settled["outcome"], settled["reasons"]) == ("review", [reason])
    assert settled["text"] == "\n".join(f"Please wait {n}" for n in range(5))
    native = read([note], native_text="The cover", native_lines=[])
    settled = settle_page(native)
    assert (settled["outcome"], settled["reasons"]) == ("review", [reason])
    assert (settled["text"], settled["text_source"]) == ("The cover", "native")


@pytest.mark.parametrize(("note", "reason"), NOTES)
def test_no_second_reading_settles_it(note: str, reason: str) -> None:
    for score in (0.99, 0.85):
        settled = settle_second(escalated(read([note], score=score)), CONFIG)
        assert settled["outcome"] == "review"
        assert settled["reasons"][0] == reason
        assert settled["text_source"] == "rapid_ocr"


def test_a_second_reading_of_a_placeholder_is_not_asked_for() -> None:
    """The second reader is asked about pages with doubts."""
    assert read(["dynamic_form"], score=0.3)["doubts"] == []
    assert read(["portfolio"], score=0.3)["doubts"] != []


@pytest.mark.parametrize("notes", [None, [], ["attachments"], ["hidden_text"]])
def test_other_notes_change_nothing(notes: list[str] | None) -> None:
    """An invoice with its XML attached is accepted."""
    assert settle_page(read(notes))["outcome"] == "ocr"
    native = read(notes, native_text="An invoice", native_lines=[])
    assert settle_page(native)["outcome"] == "native_text"
