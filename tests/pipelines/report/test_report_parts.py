"""Parts of the report by themselves: masks as paths, the sample, the night, figures of others."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hand_made_runs import PAGES, write_run
from labelled_runs import labelled_run
from PIL import Image
from pycocotools import mask as coco
from reported_runs import images_run
from rich.console import Console

from jobs.commands import evaluate
from pipelines.decisions.error_model import Calibration, HeldOut, LineModel, Steps
from pipelines.evaluation.text_figures import LEGEND
from pipelines.measures.intervals import Interval
from pipelines.measures.promises import Promise
from pipelines.report.calibrated import calibrations
from pipelines.report.charts import histogram
from pipelines.report.evaluated import evaluation
from pipelines.report.facts import config_text, masked, models_table
from pipelines.report.night import night
from pipelines.report.page import share, visible
from pipelines.report.scan import Commit, scan
from pipelines.report.svg_paths import mask_path
from pipelines.report.tally import BINS, bins_of


def blob(seed: int, height: int, width: int) -> np.ndarray:
    """A mask of a few ellipses, one of them a hole."""
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for number in range(3):
        centre = random.integers(width // 4, 3 * width // 4), random.integers(height // 3, height)
        axes = random.integers(width // 12, width // 4), random.integers(height // 12, height // 4)
        value = 0 if number == 2 else 1
        cv2.ellipse(mask, [int(c) for c in centre], [int(a) for a in axes], 30, 0, 360, value, -1)
    return np.asfortranarray(mask)


def rle_of(mask: np.ndarray) -> dict[str, Any]:
    found = coco.encode(mask)
    return {"counts": found["counts"].decode(), "size": list(found["size"])}


@pytest.mark.parametrize("seed", range(6))
def test_a_path_covers_its_mask(seed: int) -> None:
    mask = blob(seed, 600, 900)
    path = mask_path(rle_of(mask))
    assert path is not None
    rings = [np.array(re.findall(r"[-\d.]+", part), float) for part in path.split("M")[1:]]
    drawn = np.zeros(mask.shape, np.uint8)
    points = [np.round(ring.reshape(-1, 2)).astype(np.int32) for ring in rings]
    cv2.fillPoly(drawn, points, 1)
    iou = (drawn & mask).sum() / (drawn | mask).sum()
    assert iou > 0.95


def test_no_mask_and_nonsense_have_no_path() -> None:
    empty = rle_of(np.zeros((40, 30), np.uint8, order="F"))
    assert mask_path(empty) is None
    for counts in ("", "\x01\x02", "nonsense", "o" * 5000, "\u00e9"):
        mask_path({"counts": counts, "size": [40, 30]})
    assert mask_path({"counts": "011", "size": [0, 0]}) is None


def test_a_mask_that_claims_to_be_huge_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        mask_path({"counts": rle_of(blob(1, 300, 400))["counts"], "size": [2**31 - 1, 2**31 - 1]})
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_scores_fall_into_the_bin_that_people_read() -> None:
    values = np.array([0, 0.05, 0.5, 0.95, 0.29, 1.0, np.nan, -0.1, 1.5, np.inf], np.float32)
    assert bins_of(values.astype(float)).tolist() == [0, 5, 50, 95, 29, 99, *[BINS] * 4]


def test_bars_of_a_histogram_are_as_high_as_their_counts() -> None:
    counts = np.zeros(BINS + 1, np.int64)
    counts[[15, 18, 39, BINS]] = 4, 6, 40, 7
    chart = histogram("x", [("labels", "s0", counts)], of="labels")
    small, large = chart.bars
    assert large.height == pytest.approx(4 * small.height, abs=0.5)
    assert chart.size.x(0.15) <= small.x < chart.size.x(0.20)
    assert chart.table.rows == [["0.15 to 0.20", "10"], ["0.35 to 0.40", "40"], ["none", "7"]]
    assert chart.summary == "50 labels, median between 0.39 and 0.40; 7 without a score"


def test_a_histogram_goes_near_to_where_the_scores_are() -> None:
    counts = np.zeros(BINS + 1, np.int64)
    counts[[3, 85, 99]] = 1, 9, 90
    chart = histogram("x", [("lines", "s0", counts)], of="lines", zoom=True)
    assert [words for _, words in chart.x_ticks] == ["0.8", "0.85", "0.9", "0.95", "1"]
    assert chart.table.rows == [["below 0.80", "1"], ["0.85 to 0.86", "9"], ["0.99 to 1.00", "90"]]
    assert "1 outside the drawn range" in chart.summary
    assert len(chart.bars) == 2


def test_the_sample_is_the_same_whatever_the_order_of_the_shards(tmp_path: Path) -> None:
    run = images_run(tmp_path, 900, shards=6)
    first = scan(run, 50, time.monotonic() + 60)
    ids = {row for _, row in first.chosen}
    assert len(ids) == 50
    assert {row for _, row in scan(run, 50, time.monotonic() + 60).chosen} == ids


def test_rates_of_the_night_add_up_to_the_rows() -> None:
    sessions = [
        {"started": "2026-11-20T22:00:00+00:00", "ended": "2026-11-21T01:00:00+00:00"},
        {"started": "2026-11-21T03:00:00+00:00", "ended": "2026-11-21T04:00:00+00:00"},
    ]
    begin = 1795212000.0  # 2026-11-20T22:00:00Z
    commits = [Commit(begin + 60 * n, 100) for n in range(1, 181)]
    commits += [Commit(begin + 5 * 3600 + 60 * n, 50) for n in range(1, 61)]
    found = night(sessions, commits)
    assert found is not None
    assert found.by_commits
    assert (found.rates * np.diff(found.edges)).sum() == pytest.approx(180 * 100 + 60 * 50)
    assert found.edges[-1] == 4 * 3600, "the two hours between the sessions are left out"
    assert found.rates[0] == pytest.approx(100 / 60, rel=0.02)
    assert found.rates[-1] == pytest.approx(50 / 60, rel=0.02)
    assert f"{found.clock(3 * 3600 + 1800):%d %H:%M}" == "21 03:30"


def test_a_session_that_was_killed_is_seen_by_its_commits() -> None:
    sessions = [{"started": "2026-11-20T22:00:00+00:00", "ended": "2026-11-20T22:10:00+00:00"}]
    begin = 1795212000.0
    killed = [Commit(begin - 7200 + 60 * n, 10) for n in range(5)]
    found = night(sessions, [*killed, Commit(begin + 300, 60)])
    assert found is not None
    assert [span.recorded for span in found.spans] == [False, True]
    assert (found.rates * np.diff(found.edges)).sum() == pytest.approx(110)


def test_copied_shards_tell_no_time() -> None:
    sessions = [
        {"started": "2026-11-20T22:00:00+00:00", "ended": "2026-11-20T22:10:00+00:00", "rows": 600}
    ]
    found = night(sessions, [Commit(1795212000.0 + 9e5, 600)])
    assert found is not None
    assert not found.by_commits
    assert found.rates.tolist() == [1.0]
    assert night([], []) is None


def _calibration() -> Calibration:
    figure = Interval(value=0.02, low=0.01, high=0.03)
    steps = Steps(x=(0.5, 1.0), y=(0.5, 0.0))
    return Calibration(
        features=("mean_score",),
        centre=(0.0,),
        scale=(1.0,),
        coefficients=(1.0,),
        worst=(9.0,),
        intercept=0.0,
        lines=LineModel(up_to=(4, 99), bands=(steps, steps)),
        engine="rapid_ocr",
        counts_blanks=False,
        confidence=0.9,
        promises=(Promise(floor=0.03, promised_cer=0.0195, expected_cer=0.014, share=0.7),),
        target_cer=0.02,
        floor=0.03,
        pages=60,
        files=50,
        sample_lines=900,
        characters=9000,
        held_out=HeldOut(share_accepted=figure, cer=figure, naive_cer=None, cer_of_all=figure),
        created="2026-11-21",
    )


def test_calibrations_are_shown_and_broken_ones_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "ocr_backfill", PAGES)
    folder = run.path / "calibration"
    folder.mkdir()
    (folder / "a.json").write_text(_calibration().model_dump_json())
    (folder / "b.json").write_text("{ torn")
    (folder / "a.png").write_bytes(b"no picture")
    good, broken = calibrations(run)
    assert good.summary == (
        "rapid_ocr: 60 pages of 50 files; CER without blanks; at most 2 % is promised with a "
        "confidence of 90 %, 1.40 % is expected (floor 0.03)"
    )
    assert good.held_out is not None
    kind = "CER of accepted pages, without blanks"
    assert good.held_out.rows[1] == [kind, "2.00 % (1.00 to 3.00)"]
    assert good.lines is not None
    assert [name for _, name in good.lines.legend] == ["1 to 4 characters", "5 characters or more"]
    assert good.picture is None
    assert "is not a calibration file" in broken.fault


def test_an_evaluation_is_shown_as_it_stands(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "autolabel", PAGES)
    assert not evaluation(run).figures
    folder = run.path / "evaluation"
    folder.mkdir()
    ap = {"objects": 3, "ap": {"value": 0.5, "low": 0.4, "high": 0.6}}
    figures = {
        "images": 1200,
        "whole": {"ap": ap, "f1": 0.51234},
        "classes": {"star": {"ap": ap, "n": 3}, "house": {"ap": ap, "n": 4}},
        "slices": [{"value": "a", "figures": {"ap": ap}}, {"value": "b", "figures": {"ap": ap}}],
        "curves": {"star": {"objects": 3, "at_50": [0.1] * 101}},
        "confusion": {"classes": ["star", "house"], "counts": [[1, 2], [3, 4]]},
    }
    (folder / "evaluation.json").write_text(json.dumps(figures))
    Image.new("RGB", (300, 200)).save(folder / "pr_curves.png")
    (folder / "torn.png").write_bytes(b"no picture")
    found = evaluation(run)
    tables = {one.name: one.table for one in found.figures}
    assert [*tables] == ["", "classes", "slices"]
    assert tables[""].rows == [
        ["images", "1,200"],
        ["whole / ap / objects", "3"],
        ["whole / ap / ap", "0.5 (0.4 to 0.6)"],
        ["whole / f1", "0.5123"],
    ]
    assert tables["classes"].head == ["", "objects", "ap", "n"]
    assert tables["classes"].rows[1] == ["house", "3", "0.5 (0.4 to 0.6)", "4"]
    assert tables["slices"].rows[1] == ["b", "3", "0.5 (0.4 to 0.6)"]
    assert [name for name, _ in found.pictures] == ["pr curves"]


def test_an_evaluation_of_texts_says_what_its_columns_are(tmp_path: Path) -> None:
    run = labelled_run(tmp_path, 3)
    asked = evaluate.Asked(str(tmp_path / "truth"), ["kind"])
    evaluate.command(Console(quiet=True), run.path, asked)
    found = evaluation(run)
    assert dict(found.legend) == LEGEND
    tables = {one.name: one.table for one in found.figures}
    head = tables["slices"].head
    assert {"cer_with_blanks", "figures / cer_without_blanks", "ned", "wrong_successors"} < {*head}
    assert tables["slices"].rows[0][head.index("cer_with_blanks")] == "-", "the truth has no blanks"
    assert all("legend" not in row[0] for row in tables[""].rows)


@pytest.mark.parametrize("text", ["{ torn", "[" * 100_000, "7", '"x"', "null"])
def test_nonsense_for_an_evaluation_is_no_fault_of_the_report(tmp_path: Path, text: str) -> None:
    run = write_run(tmp_path / "run", "autolabel", PAGES)
    (run.path / "evaluation").mkdir()
    (run.path / "evaluation" / "evaluation.json").write_text(text)
    found = evaluation(run)
    assert not found.figures
    assert ("cannot be read" in found.fault) == text.startswith(("{", "[[[[["))


def test_secrets_stay_out() -> None:
    record = {
        "config": {
            "source": {"path": "https://me:pa55@host/x"},
            "vlm": {"api_key": "k-1", "api_key_env": "VLM_KEY"},
            "list": ["s3://u:p@bucket"],
        }
    }
    text = config_text(record)
    assert "pa55" not in text
    assert "k-1" not in text
    assert "u:p" not in text
    assert "VLM_KEY" in text, "the name of a variable is no secret"
    assert masked({"max_tokens": 7}) == {"max_tokens": 7}
    table = models_table([{"models": {"vlm": {"endpoint": "http://u:p@h"}}}, {}])
    assert table.rows == [["vlm", "endpoint", "http://(hidden)@h"]]


def test_shares_never_round_something_to_nothing() -> None:
    assert share(1, 1_000_000) == "< 0.1 %"
    assert share(999_999, 1_000_000) == "> 99.9 %"
    assert share(0, 0) == "0.0 %"
    assert share(1, 3) == "33.3 %"


def test_characters_that_hide_others_are_written_out() -> None:
    assert visible("a\u202eb\x07c\nd") == "a<U+202E>b<U+0007>c\nd"
    assert visible(7) == 7
