"""Corrections from FiftyOne are truth for calibrate, evaluate and export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hand_made_runs import IMAGES, label, picture, stored, write_run
from labelled_runs import SCHEMA, misread, row_of
from rich.console import Console
from typer.testing import CliRunner

from actors.failures import FAILURE
from jobs.cli import app
from jobs.commands.calibrate import Asked, command
from pipelines.curation.curate import curate
from pipelines.curation.pull import pull
from pipelines.runs.directory import RunDir

pytest_plugins = ["own_fiftyone"]

IMAGES_LOOKED_AT = 12
PAGES_LOOKED_AT = 16


@pytest.fixture
def named(fo: Any) -> Iterator[str]:
    yield "truth"
    fo.delete_dataset("truth")


def nightjar(*arguments: str | Path) -> str:
    """What a command prints, run in this process."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.exception
    return " ".join(done.output.split())


def calibrated(run: RunDir, truth: str | Path, **options: Any) -> str:
    console = Console(record=True, width=200, force_terminal=False)
    command(console, run.path, Asked(str(truth), repeats=1, **options))
    return " ".join(console.export_text().split())


# ---------------------------------------------------------------- labels


@pytest.fixture
def images(tmp_path: Path) -> RunDir:
    """Two stars an image that are there, one that is not, and one below the threshold."""
    boxes = [(10 + 30 * place, 10, 30 + 30 * place, 30) for place in range(4)]
    rows = []
    for number in range(IMAGES_LOOKED_AT + 1):
        scores = (0.9, 0.8, 0.6 - 0.01 * number, 0.3)
        labels = [
            label("red star", box, score=score, reasons=[] if score >= 0.5 else ["below_threshold"])
            for box, score in zip(boxes, scores, strict=True)
        ]
        path = picture(tmp_path / "pictures" / f"{number}.jpg")
        outcome = "review" if number % 2 else "accepted"
        rows.append(stored(number, path, outcome=outcome, instances=labels))
    return write_run(tmp_path / "run", "autolabel", IMAGES, rows)


def test_labels_that_were_deleted_in_the_app_move_the_threshold(
    fo: Any, named: str, images: RunDir, tmp_path: Path
) -> None:
    curate(images, named)
    for sample in fo.load_dataset(named).iter_samples(autosave=True):
        if int(sample.row_id) == IMAGES_LOOKED_AT:
            sample.tags.append("reject")
        elif len(sample.instances.detections) == 3:
            sample.instances.detections.pop(2)
        else:
            sample.tags.append("accept")  # its third is below the threshold already
    pull(named)
    said = calibrated(images, "reviewed", out=tmp_path / "thresholds.yaml")
    assert f"{IMAGES_LOOKED_AT} images, 1 rejected in review" in said
    assert "0.5 -> 0.7" in said
    assert "from the review queue" not in said, "accepted images were looked at too"
    # The same as a COCO data set of what people said, which any run can be held against
    exported = nightjar("export", images.path, tmp_path / "coco", "--reviewed", "only")
    assert f"{IMAGES_LOOKED_AT} images, {2 * IMAGES_LOOKED_AT} labels" in exported
    assert "with a reviewer's labels: 1 accept, 11 correct" in exported
    truth = tmp_path / "coco" / "annotations.json"
    calibrated(images, truth, out=tmp_path / "other.yaml")
    assert (tmp_path / "other.yaml").read_text() == (tmp_path / "thresholds.yaml").read_text()
    nightjar("evaluate", images.path, "--truth", "reviewed", "--out", tmp_path / "a")
    nightjar("evaluate", images.path, "--truth", truth, "--out", tmp_path / "b")
    one, other = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in "ab")
    assert one["whole"] == other["whole"]


def test_truth_of_doubtful_images_alone_is_told(fo: Any, named: str, images: RunDir) -> None:
    curate(images, named, outcomes=["review"])
    fo.load_dataset(named).tag_samples("accept")
    pull(named)
    assert "all truth comes from the review queue" in calibrated(images, "reviewed")


# ---------------------------------------------------------------- pages


@pytest.fixture
def pages(tmp_path: Path) -> RunDir:
    """Pages with weak and wrong lines; what is true of them in `tmp_path`/truth as plain text."""
    random = np.random.default_rng(5)
    (tmp_path / "truth").mkdir()
    rows = []
    for number in range(PAGES_LOOKED_AT):
        true, read = [], []
        for _ in range(20):
            bad = number > 3 and random.random() < 0.2
            true.append("".join(random.choice(list("abcdefgh"), 12)))
            score = random.uniform(0.5, 0.8) if bad else random.uniform(0.975, 1.0)
            read.append((misread(true[-1], 0.2 if bad else 0, random), score))
        rows.append(row_of(number, f"{number:03d}", read))
        (tmp_path / "truth" / f"{number:03d}.txt").write_text("\n".join(true) + "\n")
    schema = SCHEMA.append(pa.field("fetch_failure", FAILURE))
    return write_run(tmp_path / "run", "ocr_backfill", schema, rows)


def test_texts_that_were_corrected_in_the_app_calibrate_like_truth_files(
    fo: Any, named: str, pages: RunDir, tmp_path: Path
) -> None:
    curate(pages, named)
    for sample in fo.load_dataset(named).iter_samples(autosave=True):
        number = int(sample.row_id)
        true = (tmp_path / "truth" / f"{number:03d}.txt").read_text().rstrip("\n")
        if number == PAGES_LOOKED_AT - 1:
            sample.tags.append("reject")
            (tmp_path / "truth" / f"{number:03d}.txt").unlink()
        elif sample.text == true:
            sample.tags.append("accept")
        elif number % 2:
            sample.text = true
        else:  # line by line
            for line, text in zip(sample.lines.polylines, true.split("\n"), strict=True):
                line["text"] = text
    (pulled,) = pull(named)
    assert pulled.counts.verdicts["accept"] >= 4
    assert pulled.counts.verdicts["correct"] >= 8
    said = calibrated(pages, "reviewed", out=tmp_path / "app.json")
    assert f"{PAGES_LOOKED_AT - 1} of {PAGES_LOOKED_AT} truths match a page with text" in said
    assert "left out: 1 rejected in review" in said
    assert "all truth comes from the review queue" not in said
    calibrated(pages, tmp_path / "truth", out=tmp_path / "files.json")
    app_, files = (
        json.loads((tmp_path / name).read_text()) | {"created": ""}
        for name in ("app.json", "files.json")
    )
    assert app_ == files
    assert app_["pages"] == PAGES_LOOKED_AT - 1
