"""The main job on the repository's own documents, through the real command, Ray and models."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import jiwer
import pandas as pd
import pyarrow.dataset as ds
import pytest
from conftest import REPOSITORY, in_this_process
from datasets import Dataset

TRUTH = REPOSITORY / "configs" / "samples" / "documents" / "truth"


@pytest.fixture(scope="module")
def rows(ocr_quickstart: Path) -> list[dict[str, Any]]:
    return ds.dataset(ocr_quickstart / "shards").to_table().to_pylist()


def test_every_row_of_the_manifest_is_written_once(ocr_quickstart: Path, rows) -> None:
    listed = ds.dataset(sorted((ocr_quickstart / "manifest").glob("*.parquet"))).to_table()
    assert Counter(listed["row_id"].to_pylist()) == Counter(row["row_id"] for row in rows)


def test_each_document_ends_where_it_should(rows) -> None:
    outcomes = {(Path(r["uri"]).name, r["page"]): r["outcome"] for r in rows}
    assert outcomes["annual_report.pdf", 1] == "native_text"
    assert outcomes["annual_report.pdf", 3] == "ocr", "its third page is a scan"
    assert outcomes["receipt_grocer.jpg", 1] == "ocr"
    assert outcomes["blank_page.png", 1] == "review"
    assert outcomes["receipt_garage_faded.jpg", 1] == "review", "its reader missed whole lines"
    assert outcomes["receipt_torn.jpg", 1] == "failed"
    assert outcomes["sealed_deed.pdf", 1] == "failed"
    assert {r["outcome"] for r in rows} <= {"native_text", "ocr", "review", "failed"}


def test_rows_that_nobody_should_trust_have_reasons(rows) -> None:
    for row in rows:
        assert bool(row["reasons"]) == (row["outcome"] in ("review", "failed")), row["uri"]
    reasons = {Path(r["uri"]).name: r["reasons"] for r in rows}
    assert reasons["sealed_deed.pdf"] == ["ENCRYPTED_PDF"]
    assert reasons["receipt_torn.jpg"] == ["CORRUPT_IMAGE"]
    assert reasons["blank_page.png"] == ["blank_page"]


def test_accepted_text_is_close_to_the_truth(rows) -> None:
    """Order-free character error rate over accepted pages, lines sorted on both sides."""
    truths, read = [], []
    for row in rows:
        truth = TRUTH / f"{Path(row['uri']).name}.page{row['page']}.txt"
        if row["outcome"] in ("ocr", "native_text") and truth.exists():
            truths.append(" ".join(sorted(truth.read_text().split())))
            read.append(" ".join(sorted(row["text"].split())))
    assert len(truths) >= 8
    assert jiwer.cer(truths, read) < 0.05


def test_lines_carry_scores_and_polygons_inside_the_page(rows) -> None:
    page = next(r for r in rows if r["uri"].endswith("receipt_grocer.jpg"))
    assert len(page["lines"]) > 5
    for line in page["lines"]:
        assert 0 <= line["score"] <= 1
        xs, ys = line["polygon"][::2], line["polygon"][1::2]
        assert -1 <= min(xs) <= max(xs) <= page["width"] + 1
        assert -1 <= min(ys) <= max(ys) <= page["height"] + 1


def test_shards_open_in_duckdb_pandas_and_datasets(ocr_quickstart: Path, rows) -> None:
    shards = [str(p) for p in sorted((ocr_quickstart / "shards").glob("*.parquet"))]
    counted = duckdb.sql(f"select outcome, count(*) from read_parquet({shards}) group by outcome")
    assert dict(counted.fetchall()) == Counter(row["outcome"] for row in rows)
    assert sum(len(pd.read_parquet(shard)) for shard in shards) == len(rows)
    assert len(Dataset.from_parquet(shards)) == len(rows)


def test_run_json_tells_who_made_it(ocr_quickstart: Path) -> None:
    record = json.loads((ocr_quickstart / "run.json").read_text())
    assert record["config"]["job"] == "ocr_backfill"
    session = record["sessions"][0]
    assert session["versions"]["ray"].startswith("2.")
    assert any(len(v) == 64 for v in session["models"]["rapid_ocr"].values()), "a sha256 of weights"
    assert session["stages"]["rapid_ocr"]["rows"] == session["rows"]
    assert record["totals"]["rows"] == session["rows"]


def test_the_summary_names_outcomes_failures_and_places(ocr_quickstart: Path) -> None:
    out = (ocr_quickstart.parents[1] / "output.txt").read_text()
    for word in (
        "pages by outcome",
        "native_text",
        "ENCRYPTED_PDF",
        "where the time went",
        "shards",
    ):
        assert word in out


def test_a_second_run_starts_nothing_and_changes_nothing(ocr_quickstart: Path, rows) -> None:
    before = sorted((ocr_quickstart / "shards").iterdir())
    config = "configs/ocr_backfill/quickstart.yaml"
    again = in_this_process(ocr_quickstart.parents[1], "run", config)
    assert again.code == 0, again.err
    assert "Everything is done." in again.out
    assert sorted((ocr_quickstart / "shards").iterdir()) == before
    assert len(json.loads((ocr_quickstart / "run.json").read_text())["sessions"]) == 1


def test_show_knows_one_row(ocr_quickstart: Path, rows) -> None:
    page = next(r for r in rows if r["uri"].endswith("receipt_grocer.jpg"))
    shown = in_this_process(ocr_quickstart, "show", ocr_quickstart, "--row", str(page["row_id"]))
    assert json.loads(shown.out)["text"] == page["text"]


def test_failed_pages_stand_in_rejects_by_themselves(ocr_quickstart: Path, rows) -> None:
    rejected = ds.dataset(ocr_quickstart / "rejects").to_table()["row_id"].to_pylist()
    assert Counter(rejected) == Counter(r["row_id"] for r in rows if r["outcome"] == "failed")
