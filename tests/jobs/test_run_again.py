"""A run with damaged files and failed rows: commands name the files, the next start mends it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from bad_files import good_page
from conftest import Ended, in_this_process, write_config
from hand_made_runs import page

from pipelines.errors import RunConflict, RunDamaged
from pipelines.run import Run
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import SinkConfig, stage_shard
from pipelines.sources.manifest import iter_parts, read_part

TEXTS = ("kept", "failed", "corrupt", "lost one", "lost two")


def failed(row: dict[str, Any], kind: str) -> dict[str, Any]:
    fault = {"kind": kind, "message": "as the test says"}
    none = dict.fromkeys(("text", "text_source", "lines", "evidence"))
    return row | none | {"outcome": "failed", "reasons": [kind], "fetch_failure": fault}


def planned_and_half_done(folder: Path) -> Path:
    """The config of a run with two shards: one row is good, one may be retried, one is corrupt."""
    source = folder / "source"
    source.mkdir()
    for text in TEXTS:
        good_page(source, text, f"{text}.png")
    config = write_config(folder, source)
    with Run.from_file(config).opened() as run:
        run.plan()
        (part,) = iter_parts(run.directory.manifest)
        made, columns = {}, run.job.flow(run.config).schema
        for row in read_part(part).to_pylist():
            name = Path(row["uri"]).stem
            made[name] = page(row["row_id"], Path(row["uri"]), f"made by hand: {name}", 0.99)
            made[name] |= row | {"outcome": "ocr", "reasons": []}
        made["failed"] = failed(made["failed"], "STORAGE_ERROR")
        made["corrupt"] = failed(made["corrupt"], "CORRUPT_IMAGE")
        for names in (TEXTS[:3], TEXTS[3:]):
            table = pa.Table.from_pylist([made[name] for name in names], columns)
            run.directory.commit(
                stage_shard(run.directory, "part-00000", [table], SinkConfig()).name
            )
    return config


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planned_and_half_done(tmp_path_factory.mktemp("again")).parent


@pytest.fixture
def run(template: Path, tmp_path: Path) -> RunDir:
    """A copy of the run."""
    shutil.copytree(template / "run", tmp_path / "run")
    return RunDir(tmp_path / "run")


def shard_of(run: RunDir, text: str) -> Path:
    """The shard with the page of this text."""
    found = [
        path
        for path in run.path.glob("shards/*.parquet")
        if any(Path(uri).stem == text for uri in ds.dataset(path).to_table()["uri"].to_pylist())
    ]
    assert len(found) == 1
    return Path(str(found[0]))


def of_text(run: RunDir) -> dict[str, dict[str, Any]]:
    """Name of the page -> its row; each once."""
    rows = ds.dataset(str(run.shards)).to_table().to_pylist()
    assert max(Counter(row["row_id"] for row in rows).values()) == 1
    return {Path(row["uri"]).stem: row for row in rows}


READERS = {
    "show": ("show", "run"),
    "report": ("report", "run"),
    "export": ("export", "run", "out", "--format", "text"),
    "review": ("review", "export", "run", "queue"),
    "diff": ("diff", "run", "run"),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_command_that_only_reads_names_the_file_and_moves_nothing(
    reader: str, run: RunDir, tmp_path: Path
) -> None:
    damaged = shard_of(run, "lost one")
    damaged.write_bytes(b"")
    ended = in_this_process(tmp_path, *READERS[reader])
    assert ended.code == 5
    assert f"RunDamaged: {Path('run') / damaged.relative_to(run.path)}" in ended.err.replace(
        f"{tmp_path}/", ""
    )
    assert "start the same nightjar run command again" in ended.err
    assert damaged.exists()
    run.record.write_text('{"job": "ocr')
    ended = in_this_process(tmp_path, *READERS[reader])
    assert ended.code == 5
    assert "run.json is damaged: " in ended.err


def test_show_says_what_could_be_retried(run: RunDir, tmp_path: Path) -> None:
    ended = in_this_process(tmp_path, "show", "run")
    assert ended.code == 0, ended.err
    wanted = "2 pages have a failure; to try again: nightjar run CONFIG --retry-failed KIND"
    assert wanted in ended.out
    assert "STORAGE_ERROR" in ended.out


def test_an_unknown_kind_is_refused(template: Path, tmp_path: Path) -> None:
    config = template / "config.yaml"
    ended = in_this_process(tmp_path, "run", config, "--retry-failed", "STORAGE")
    assert ended.code == 2
    assert "no such kind of failure" in ended.err
    assert "STORAGE_ERROR" in ended.err


def test_a_torn_record_of_another_source_is_not_written_anew(template: Path, run: RunDir) -> None:
    changes = [f"run_dir={run.path}", "source.path=/elsewhere"]
    run.record.write_text("")
    with (
        pytest.raises(RunConflict, match=r"Its manifest lists .*source, the config /elsewhere"),
        Run.from_file(template / "config.yaml", changes).opened(),
    ):
        pass
    assert run.record.read_text() == ""


def test_shards_without_a_manifest_are_not_planned_again(template: Path, run: RunDir) -> None:
    changes = [f"run_dir={run.path}"]
    (run.path / "manifest" / "_SUMMARY.json").write_text("{")
    with pytest.raises(RunDamaged), Run.from_file(template / "config.yaml", changes).opened():
        pass
    shutil.rmtree(str(run.manifest))
    with Run.from_file(template / "config.yaml", changes).opened() as again:
        with pytest.raises(RunConflict, match=r"has shards, but .*manifest is gone") as caught:
            again.plan()
        assert "--new" in caught.value.remedy


def test_the_next_start_mends_it(tmp_path: Path, nightjar: Callable[..., Ended]) -> None:
    """One start: a torn run.json, an empty shard, and a failed row to try again."""
    config = planned_and_half_done(tmp_path)
    run = RunDir(tmp_path / "run")
    empty, before = shard_of(run, "lost one"), of_text(run)
    empty.write_bytes(b"")
    run.record.write_text("")
    ended = nightjar("run", config, "--retry-failed", "storage_error")
    assert ended.code == 0, ended.err
    after = of_text(run)
    assert after.keys() == set(TEXTS)
    for name in ("kept", "corrupt"):
        for column in ("row_id", "text", "outcome", "fetch_failure"):
            assert after[name][column] == before[name][column]
    assert after["kept"]["text"] == "made by hand: kept"
    assert [after[name]["outcome"] for name in ("failed", *TEXTS[3:])] == ["ocr"] * 3
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["totals"]["outcomes"] == {"ocr": 4, "failed": 1}
    (session,) = record["sessions"]
    assert (session["rows"], session["retried"]) == (3, {"STORAGE_ERROR": 1})
    assert "run.json is damaged: it is empty" in record["record_lost"]["why"]
    assert f"2 damaged files were moved to {run.damaged} ({empty.name}, run.json)" in ended.out
    rejects = ds.dataset(str(run.rejects)).to_table()["uri"].to_pylist()
    assert [Path(uri).stem for uri in rejects] == ["corrupt"]
    again = nightjar("run", config)
    assert again.code == 0, again.err
    assert "Everything is done. No worker was started. 1 page has a failure" in again.out
