"""The cascade of readers: its config, and outcomes of pages with two readings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from actors.contract import Pool
from actors.failures import FailureKind, failure
from pipelines.decisions.routing import RoutingConfig
from pipelines.decisions.settling import settle_second, weigh_page
from pipelines.ocr_backfill import OcrBackfillConfig, ocr_backfill

VLM = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
ROUTING = RoutingConfig()
BOX = [0.0, 0, 90, 0, 90, 9, 0, 9]
TEXTS = ["GREENGROCERS SINCE 1931", "CARROTS LOOSE 1.36", "LEEKS 2.04", "CHFSTNUIS 3.60"]
RIGHT = [*TEXTS[:3], "CHESTNUTS 3.60"]


def config(**changes: Any) -> OcrBackfillConfig:
    return OcrBackfillConfig.model_validate(
        {"run_dir": "run", "source": {"path": "scans"}, **changes}
    )


def page(**changes: Any) -> dict[str, Any]:
    """A page that OCR read with one weak line, after the second reader."""
    scores = [0.99, 0.98, 0.97, 0.30]
    lines = [
        {"text": text, "score": score, "polygon": BOX}
        for text, score in zip(TEXTS, scores, strict=True)
    ]
    return {
        "native_text": None,
        "native_lines": None,
        "fetch_failure": None,
        "ocr_failure": None,
        "ocr_lines": lines,
        "ocr_engine": "rapid_ocr 3.10",
        "ink_share": 0.1,
        "ink_covered": 0.99,
        "text_outside": None,
        "doubts": ["mean_score_below_floor"],
        "vlm_text": "\n".join(RIGHT),
        "vlm_lines": None,
        "vlm_model": "reader-2026",
        "vlm_failure": None,
    } | changes


def test_the_cascade_is_what_is_configured_unless_it_is_named() -> None:
    assert config().readers == ("native_text", "rapid_ocr")
    assert config(vlm=VLM).readers == ("native_text", "rapid_ocr", "vlm")
    assert config(fetch={"native_text": {"enabled": False}}).readers == ("rapid_ocr",)
    named = config(vlm=VLM, cascade=["rapid_ocr"])
    assert named.readers == ("rapid_ocr",)
    assert not named.fetching.native_text.enabled
    assert [stage.name for stage in ocr_backfill(named).stages] == ["page_fetcher", "rapid_ocr"]
    whole = ocr_backfill(config(vlm=VLM))
    assert [stage.name for stage in whole.stages] == ["page_fetcher", "rapid_ocr", "vlm"]
    assert {"vlm_text", "vlm_usage", "vlm_failure", "lines", "evidence"} <= set(whole.schema.names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cascade": ["vlm", "rapid_ocr"], "vlm": VLM}, "in the order native_text, rapid_ocr, vlm"),
        ({"cascade": ["native_text"]}, "cascade needs rapid_ocr and may add native_text and vlm"),
        ({"cascade": ["rapid_ocr", "rapid_ocr"]}, "cascade needs rapid_ocr and may add native"),
        ({"cascade": ["rapid_ocr", "vlm"]}, "cascade names vlm: set vlm.base_url and vlm.model"),
        ({"cascade": ["rapid_ocr@restored"]}, "Input should be 'native_text', 'rapid_ocr'"),
        (
            {
                "cascade": ["native_text", "rapid_ocr"],
                "fetch": {"native_text": {"enabled": False}},
            },
            "fetch.native_text.enabled is false",
        ),
        (
            {"vlm": VLM | {"budget": {"requests": 5}}, "vlm_pool": {"max_size": 2}},
            "set vlm_pool.max_size to 1",
        ),
    ],
)
def test_a_cascade_that_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**changes)


def test_the_pool_of_the_fallback_takes_many_batches_at_once() -> None:
    pool: Pool = config(vlm=VLM).vlm_pool
    assert (pool.max_size, pool.concurrency > 1) == (1, True)


def test_a_confirmed_second_reading_is_taken_and_says_why_it_was_asked() -> None:
    settled = settle_second(page(), ROUTING)
    assert (settled["outcome"], settled["reasons"]) == ("vlm", ["mean_score_below_floor"])
    assert (settled["text"], settled["text_source"]) == ("\n".join(RIGHT), "vlm reader-2026")
    assert [line["text"] for line in settled["lines"]] == TEXTS, "the first reading is kept"
    assert settled["lines_source"] == "rapid_ocr 3.10"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vlm_text": "Thank you for your purchase."}, "vlm_disagrees"),
        ({"vlm_text": None}, "vlm_no_answer"),
        ({"vlm_failure": failure(FailureKind.VLM_TRUNCATED, "")}, "vlm_truncated"),
        ({"vlm_failure": failure(FailureKind.VLM_UNREACHABLE, "")}, "vlm_unreachable"),
    ],
)
def test_any_other_goes_to_review_with_the_first_text(changes: dict[str, Any], reason: str) -> None:
    settled = settle_second(page(**changes), ROUTING)
    assert settled["outcome"] == "review"
    assert settled["reasons"][0] == "mean_score_below_floor"
    assert reason in settled["reasons"]
    assert (settled["text"], settled["text_source"]) == ("\n".join(TEXTS), "rapid_ocr 3.10")


def test_pages_without_doubt_native_text_and_failures_are_none_of_the_second_reader_s() -> None:
    nothing = {"doubts": [], "vlm_text": None, "vlm_model": None}
    assert settle_second(page(**nothing), ROUTING)["outcome"] == "ocr"
    native = nothing | {"native_text": "typed", "native_lines": [], "ocr_lines": None}
    assert settle_second(page(**native), ROUTING)["outcome"] == "native_text"
    broken = failure(FailureKind.ENGINE_FAULT, "")
    failed = settle_second(page(**nothing, ocr_lines=None, ocr_failure=broken), ROUTING)
    assert (failed["outcome"], failed["reasons"]) == ("failed", ["ENGINE_FAULT"])


def test_pages_without_ocr_have_no_doubts() -> None:
    assert weigh_page(page(ocr_lines=None), ROUTING) == {"evidence": None, "doubts": []}
    assert weigh_page(page(native_text="typed"), ROUTING)["doubts"] == []
    weighed = weigh_page(page(ocr_lines=[], ink_share=0.5), ROUTING)
    assert weighed["doubts"] == ["no_text_found"]
