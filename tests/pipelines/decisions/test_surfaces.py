"""Rules and guesses give the surface of a page; the surface selects its reader."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError
from tiny_screens import save_detector

from actors.contract import Pool
from pipelines.config_files import validated
from pipelines.decisions.readers import BySurface, choose_reader
from pipelines.decisions.surfaces import (
    SurfacesConfig,
    ruled_surface,
    settle_surface,
    with_surfaces,
)
from pipelines.errors import ConfigError, SchemaMismatch
from pipelines.flow import Flow
from pipelines.ocr_backfill import OcrBackfillConfig, ocr_backfill
from pipelines.pages.fetch import FetchConfig, PageFetcher
from pipelines.sources.manifest import MANIFEST

SAMPLES = Path(__file__).resolve().parents[3] / "configs" / "samples"
PAGE = {"uri": "s3://bucket/till/2026/0001.png", "kind": "image", "pages": 1, "width": 500}


def rules(*given: dict[str, Any], **more: Any) -> SurfacesConfig:
    return SurfacesConfig.model_validate({"rules": given, **more})


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({"prefix": "s3://bucket/till/"}, True),
        ({"prefix": "till/"}, False),
        ({"glob": "*/till/*.png"}, True),
        ({"glob": "*.PNG"}, False),
        ({"column": "kind", "glob": "image"}, True),
        ({"column": "kind", "glob": "pdf"}, False),
        ({"column": "width", "glob": "5??"}, True),
        ({"column": "height", "glob": "*"}, False),
    ],
)
def test_a_rule_holds_for_what_it_says(rule: dict[str, Any], holds: bool) -> None:
    config = rules({"surface": "screenshot", **rule})
    page = {**PAGE, "height": None}
    assert ruled_surface(page, config) == ("screenshot" if holds else None)


def test_the_first_rule_that_holds_decides() -> None:
    config = rules(
        {"glob": "*.jpg", "surface": "scene"},
        {"prefix": "s3://bucket/", "surface": "document"},
        {"glob": "*", "surface": "screenshot"},
    )
    assert ruled_surface(PAGE, config) == "document"
    assert ruled_surface({**PAGE, "uri": "/tmp/x"}, config) == "screenshot"
    assert ruled_surface(PAGE, rules()) is None


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"surface": "scene"}, "either a prefix or a glob"),
        ({"surface": "scene", "prefix": "a", "glob": "b"}, "either a prefix or a glob"),
        ({"surface": "scene", "column": "shelf", "glob": "b"}, "no column 'shelf'"),
        ({"surface": "poster", "glob": "b"}, "scene"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rules(rule)


def test_a_rule_outweighs_a_guess_and_an_unsure_guess_is_none() -> None:
    rows = pa.table(
        {
            "ruled_surface": pa.array(["scene", None, None, None], pa.string()),
            "guessed_surface": pa.array([None, "document", "screenshot", None], pa.string()),
            "guess_score": pa.array([None, 0.95, 0.5, None], pa.float32()),
        }
    )
    out = settle_surface.run(rows, SurfacesConfig(min_score=0.8))
    assert out["surface"].to_pylist() == ["scene", "document", None, None]
    assert out["surface_score"].to_pylist() == [None, pytest.approx(0.95), 0.5, None]
    readers = BySurface(scene="paddle_ocr", document="surya", unsure="rapid_ocr")
    named = choose_reader.run(out, readers)["reader"].to_pylist()
    assert named == ["paddle_ocr", "surya", "rapid_ocr", "rapid_ocr"]


def fetched(folder: Path) -> tuple[Flow, pa.Table]:
    flow = Flow(MANIFEST).through(PageFetcher, FetchConfig(check_version=False), Pool())
    rows = [
        {"row_id": n, "uri": str(path), "page": 1, "pages": 1, "etag": None, "bytes": None,
         "kind": "image"}
        for n, path in enumerate(sorted(folder.iterdir()))
    ]  # fmt: skip
    return flow, pa.Table.from_pylist(rows, MANIFEST)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    for path in (
        SAMPLES / "documents" / "letter_donation.png",
        SAMPLES / "scenes" / "scene_11.jpg",
        SAMPLES / "screenshots" / "chat_dark.png",
    ):
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return tmp_path


def test_pages_get_their_surface_and_the_helpers_columns_go(mixed: Path) -> None:
    flow, rows = fetched(mixed)
    config = rules({"glob": "*letter*", "surface": "scene"})
    out = with_surfaces(flow, config, Pool()).run_here(rows).to_pylist()
    by_name = {Path(row["uri"]).name: (row["surface"], row["surface_score"]) for row in out}
    assert by_name["letter_donation.png"] == ("scene", None)  # the rule's word, right or wrong
    assert by_name["scene_11.jpg"][0] == "scene"
    assert by_name["chat_dark.png"][0] == "screenshot"
    assert by_name["chat_dark.png"][1] > 0.8
    assert by_name["torn.png"] == (None, None)
    assert not {"ruled_surface", "guessed_surface", "surface_failure"} & out[0].keys()


def test_without_a_classifier_nobody_looks_at_the_picture(mixed: Path) -> None:
    flow, rows = fetched(mixed)
    config = rules({"glob": "*.jpg", "surface": "scene"}, classifier=None)
    flow = with_surfaces(flow, config, Pool())
    assert [stage.name for stage in flow.stages] == ["page_fetcher"]
    found = {Path(row["uri"]).name: row["surface"] for row in flow.run_here(rows).to_pylist()}
    assert found["scene_11.jpg"] == "scene"
    assert found["chat_dark.png"] is None


def test_rules_are_checked_against_the_columns_before_anything_starts() -> None:
    flow, _ = fetched(SAMPLES / "scenes")
    config = rules({"column": "width", "glob": "5*", "surface": "screenshot"})
    assert "surface" in with_surfaces(flow, config, Pool()).schema.names
    with pytest.raises(SchemaMismatch, match="writes surface, but an earlier stage does too"):
        with_surfaces(with_surfaces(flow, config, Pool()), config, Pool())


def backfill(**changes: Any) -> OcrBackfillConfig:
    raw = {"job": "ocr_backfill", "run_dir": "run", "source": {"path": "x"}, **changes}
    return validated(OcrBackfillConfig, raw, "test")


def test_ocr_backfill_routes_pages_by_surface() -> None:
    config = backfill(
        surfaces={"rules": [{"glob": "*/photos/*", "surface": "scene"}]},
        reader={"scene": "paddle_ocr", "document": "surya"},
        surya={"base_url": "http://127.0.0.1:1/v1"},
    )
    flow = ocr_backfill(config)
    names = [stage.name for stage in flow.stages]
    assert names == ["page_fetcher", "surface", "rapid_ocr", "surya", "paddle_ocr"]
    assert {"surface", "surface_score", "reader"} <= set(flow.schema.names)
    assert "surface" not in ocr_backfill(backfill()).schema.names


def test_screenshots_are_parsed_after_they_are_read() -> None:
    flow = ocr_backfill(backfill(surfaces={}, screens={"model": "weights"}))
    assert [stage.name for stage in flow.stages][-1] == "omni_parser"
    assert {"elements", "parse_failure"} <= set(flow.schema.names)
    assert "image" not in flow.schema.names
    with pytest.raises(ConfigError, match="screens needs surfaces"):
        backfill(screens={"model": "weights"})


def test_a_screenshot_is_guessed_read_and_parsed_in_one_flow(mixed: Path, tmp_path: Path) -> None:
    """Real reader, real statistics; the icon detector is a small one that finds red cells."""
    weights = tmp_path.parent / f"{tmp_path.name}-weights"
    save_detector(weights)
    _, rows = fetched(mixed)
    config = backfill(
        fetch={"check_version": False},
        surfaces={},
        screens={"model": str(weights), "captions": False, "device": "cpu"},
    )
    out = ocr_backfill(config).run_here(rows).to_pylist()
    by_name = {Path(row["uri"]).name: row for row in out}
    chat = by_name["chat_dark.png"]
    said = [one["text"] for one in chat["elements"]]
    assert any("boxes there" in text for text in said)
    assert sorted(said) == sorted(line["text"] for line in chat["lines"] if line["text"])
    assert by_name["letter_donation.png"]["surface"] == "document"
    assert by_name["letter_donation.png"]["elements"] is None
    assert by_name["torn.png"]["outcome"] == "failed"
    assert all(row["parse_failure"] is None for row in out)


def test_a_typing_error_in_a_rule_names_the_key() -> None:
    with pytest.raises(ConfigError, match="did you mean 'prefix'"):
        backfill(surfaces={"rules": [{"prefixx": "a", "surface": "scene"}]})


def test_a_failed_block_leaves_its_page_in_review_with_the_rest_of_its_text(mixed: Path) -> None:
    """Surya writes lines beside a failure: what it read must not vanish."""
    from pipelines.decisions.settling import settle_page, weigh_page

    line = {"text": "read well", "score": 0.99, "polygon": [0, 0, 90, 0, 90, 9, 0, 9]}
    page = {
        "native_text": None,
        "native_lines": None,
        "fetch_failure": None,
        "ocr_lines": [line],
        "ocr_engine": "surya x",
        "ocr_failure": {"kind": "VLM_TRUNCATED", "message": "1 of 2 blocks failed"},
        "ink_share": 0.1,
        "ink_covered": 1.0,
        "text_outside": None,
    }
    config = backfill().routing
    page |= weigh_page(page, config)
    assert "VLM_TRUNCATED" in page["doubts"]
    settled = settle_page(page)
    assert (settled["outcome"], settled["text"]) == ("review", "read well")
    assert "VLM_TRUNCATED" in settled["reasons"]
    lost = {**page, "ocr_lines": None, "doubts": []}
    assert settle_page(lost | weigh_page(lost, config))["outcome"] == "failed"
