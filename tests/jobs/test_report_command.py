"""`nightjar report`, and the report at the end of `nightjar run`. Nothing here starts Ray."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Ended, in_this_process, write_config
from hand_made_runs import scan
from html_tree import parsed
from reported_runs import images_run

from pipelines.run import Run

Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the other tests prefer: here a run is as people run it."""
    monkeypatch.delenv("NIGHTJAR_REPORT", raising=False)


def test_a_report_is_written_beside_the_shards(command: Command, tmp_path: Path) -> None:
    run = images_run(tmp_path, 40)
    ended = command("report", run.path)
    assert ended.code == 0, ended.err
    assert "40 rows, 40 samples" in ended.out
    assert str(run.path / "report.html") in ended.out
    assert len(parsed(run.path / "report.html").all("li", "card")) == 40


def test_out_and_samples_are_taken(command: Command, tmp_path: Path) -> None:
    run = images_run(tmp_path, 40)
    out = tmp_path / "deeper" / "it.html"
    ended = command("report", run.path, "--out", out, "--samples", "0")
    assert ended.code == 0, ended.err
    assert parsed(out).all("img") == []
    assert not (run.path / "report.html").exists()


def test_exit_codes_are_those_of_the_error_tree(command: Command, tmp_path: Path) -> None:
    assert command("report", tmp_path / "none").code == 9
    run = images_run(tmp_path, 3)
    assert command("report", run.path, "--out", run.record / "x.html").code == 6


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a run that has nothing left to do: planned for real, its shard made by hand."""
    folder = tmp_path_factory.mktemp("done")
    for name in ("a", "b", "c"):
        scan(folder / "pages" / f"{name}.png", name)
    config = write_config(folder, folder / "pages")
    assert in_this_process(folder, "plan", config, "--sample", "0").code == 0
    run = Run.from_file(config)
    (part,) = run.directory.path.glob("manifest/*.parquet")
    settled = {"outcome": "ocr", "reasons": []}
    rows = [row | settled for row in pq.read_table(part).to_pylist()]
    table = pa.Table.from_pylist(rows, run.job.flow(run.config).schema)
    pq.write_table(table, run.directory.path / "shards" / f"{part.stem}-0.parquet")
    return config


def test_a_run_ends_with_its_report_unless_told_not_to(
    command: Command, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = done.parent / "run" / "report.html"
    monkeypatch.setenv("NIGHTJAR_REPORT", "0")
    assert command("run", done).code == 0
    assert not report.exists()
    monkeypatch.delenv("NIGHTJAR_REPORT")
    assert command("run", done, "--no-report").code == 0
    assert not report.exists()
    ended = command("run", done)
    assert ended.code == 0, ended.err
    assert f"report: {report}" in ended.out
    assert "3 of 3 pages are ready" in parsed(report).text
    before = report.stat().st_mtime_ns
    assert command("run", done).code == 0
    assert report.stat().st_mtime_ns == before, "nothing was done, so it stays"


def test_a_report_that_fails_is_a_warning(command: Command, done: Path) -> None:
    report = done.parent / "run" / "report.html"
    report.unlink(missing_ok=True)
    report.mkdir()
    (report / "in the way").touch()
    ended = command("run", done, "--report")
    assert ended.code == 0, ended.err
    assert "report: " not in ended.out, "there is something of that name, and nothing was done"
    shutil.rmtree(report)
    (shard,) = (done.parent / "run" / "shards").glob("*.parquet")
    rows = pq.read_table(shard)
    pq.write_table(rows.drop_columns(["uri"]), shard)
    ended = command("run", done)
    assert ended.code == 0, ended.err
    assert "No report: KeyError: 'uri'" in ended.out
    assert "The run is complete" in ended.out
    assert "3 of 3 pages" in ended.out
