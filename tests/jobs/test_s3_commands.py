"""Commands that read a run, on a run in a bucket. Nothing here starts Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import Ended
from hand_made_runs import PAGES, fill, items_of, page, scan, write_run
from judged_runs import random_world
from labelled_runs import labelled_run
from rich.console import Console

from jobs.commands import calibrate, diff, evaluate, export_labels, report, review, runs
from pipelines.errors import RunNotFound
from pipelines.runs.directory import RunDir
from pipelines.storage.paths import STORAGE_ENV, BucketPath

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]

Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def reached(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """As people say where their store is when no config does."""
    monkeypatch.setenv(STORAGE_ENV, bucket.settings.model_dump_json(exclude_defaults=True))


def moved(bucket: Bucket, run: RunDir, name: str) -> BucketPath:
    """The run in the bucket; nothing of it stays on disk."""
    assert isinstance(run.path, Path)
    run.change_record(lambda record: {"sessions": [], **record})
    for file in sorted(run.path.rglob("*")):
        if file.is_file():
            bucket.put(f"{name}/{file.relative_to(run.path)}", file.read_bytes())
    run.path.rename(run.path.with_name(f"{name} is not here"))
    return BucketPath(f"s3://{bucket.name}/{name}")


def said(console: Console) -> str:
    return " ".join(console.export_text().split())


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200, force_terminal=False)


def test_show_as_people_call_it(
    command: Command, bucket: Bucket, tmp_path: Path, console: Console
) -> None:
    run, _ = random_world(tmp_path, 12, 1)
    path = moved(bucket, run, "night")
    shown = command("show", str(path))
    assert shown.code == 0, shown.err
    assert f"autolabel  {path}  12 of" in shown.out
    runs.show(console, str(path), 7, None)
    assert json.loads(console.export_text())["uri"] == "/images/007.jpg"
    with pytest.raises(RunNotFound, match="no run at s3://"):
        runs.show(console, f"s3://{bucket.name}/nothing", None, None)


def test_export_and_report(bucket: Bucket, tmp_path: Path, console: Console) -> None:
    run, _ = random_world(tmp_path, 12, 1)
    path = moved(bucket, run, "night")
    options = {"everything": True, "candidates": False, "reviewed": "ignore"}
    export_labels.export(console, str(path), tmp_path / "coco", "coco", **options)  # type: ignore[arg-type]
    exported = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert len(exported["images"]) == 12
    report.command(console, str(path), None, samples=20, seconds=30)
    assert f"{path}/report.html" in said(console)
    html = (path / "report.html").read_text()
    assert "12 images" in html or "12" in html
    assert "night" in html


def test_evaluate_and_diff(bucket: Bucket, tmp_path: Path, console: Console) -> None:
    run, truth = random_world(tmp_path, 40, 1)
    path = moved(bucket, run, "night")
    evaluate.command(console, str(path), evaluate.Asked(str(truth), ["kind"]))
    assert {file.name for file in (path / "evaluation").iterdir()} == {
        "confusion.png",
        "evaluation.json",
        "pr_curves.png",
        "slices.png",
    }
    assert json.loads((path / "evaluation" / "evaluation.json").read_text())["images"] == 40
    diff.command(console, str(path), str(path), str(truth), tmp_path / "diff.jsonl")
    assert "0 images differ" in said(console)
    report.command(console, str(path), None, samples=5, seconds=30)
    assert "confusion" in (path / "report.html").read_text(), "the evaluation is found there"


def test_calibrate(bucket: Bucket, tmp_path: Path, console: Console) -> None:
    path = moved(bucket, labelled_run(tmp_path, 30), "night")
    calibrate.command(console, str(path), calibrate.Asked(str(tmp_path / "truth"), repeats=1))
    names = [file.name for file in (path / "calibration").iterdir()]
    assert names == ["rapid_ocr.json", "rapid_ocr.png"]
    assert f"{path}/calibration/rapid_ocr.json" in said(console)


def test_review_goes_out_and_comes_back_and_is_truth(
    bucket: Bucket, tmp_path: Path, console: Console
) -> None:
    rows = [
        page(11, scan(tmp_path / "pages" / "a.png", "A1"), "Al", 0.6),
        page(12, scan(tmp_path / "pages" / "b.jpg", "B"), "B", 0.8),
    ]
    path = moved(bucket, write_run(tmp_path / "run", "ocr_backfill", PAGES, rows), "night")
    queue = tmp_path / "queue"
    review.export(console, str(path), queue, None, failed=False, again=False)
    assert [int(item["row_id"]) for item in items_of(queue)] == [11, 12]
    fill(queue, {11: {"verdict": "correct", "text": "A1"}, 12: {"verdict": "accept"}})
    review.import_(console, str(path), queue, "Ada")
    review.import_(console, str(path), queue, "Ada")
    assert "2 of 2 items reviewed" in said(console)
    assert len([*(path / "reviewed").iterdir()]) == 1, "the same answers again are nothing new"
    asked = evaluate.Asked("reviewed", out=tmp_path / "evaluation")
    evaluate.command(console, str(path), asked)
    found = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert found["truth"] == "reviewed"
    of_another = evaluate.Asked(str(path), out=tmp_path / "again")
    evaluate.command(console, str(path), of_another)
    assert "2 pages" in said(console)


def test_the_report_after_a_run_reaches_the_store_of_the_config(
    bucket: Bucket, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = random_world(tmp_path, 3, 1)
    path = moved(bucket, run, "night")
    monkeypatch.delenv(STORAGE_ENV)
    report.after_run(console, RunDir(str(path), bucket.settings), fresh=True)
    assert f"report: {path}/report.html" in said(console)
    assert (BucketPath(str(path), bucket.settings) / "report.html").is_file()
