"""One writer at a time, whole shards only, and errors that say what to do."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.failures import FAILURE
from pipelines.errors import ConfigError, OutputUnwritable, RunBusy, RunNotFound
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import SinkConfig, done_ids, find_row, pending_rows, stage_shard, totals


def rows(ids: list[int], outcome: str = "ocr") -> pa.Table:
    failed = outcome == "failed"
    failure = {"kind": "CORRUPT_IMAGE", "message": "cut off"} if failed else None
    return pa.table(
        {
            "row_id": pa.array(ids, pa.int64()),
            "uri": [f"/{row_id}.png" for row_id in ids],
            "outcome": [outcome] * len(ids),
            "reasons": pa.array(
                [["CORRUPT_IMAGE"] if failed else []] * len(ids), pa.list_(pa.string())
            ),
            "fetch_failure": pa.array([failure] * len(ids), FAILURE),
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create()
    return run


def test_a_staged_shard_is_invisible_until_it_is_committed(run: RunDir) -> None:
    shard = stage_shard(run, "part-00000", [rows([3, 1]), rows([2])], SinkConfig())
    assert run.shard_files() == []
    run.commit(shard.name)
    assert done_ids(run, "part-00000").tolist() == [1, 2, 3]
    assert done_ids(run, "part-00001").tolist() == []


def test_writing_the_same_rows_twice_makes_one_shard(run: RunDir) -> None:
    first = stage_shard(run, "p", [rows([1, 2])], SinkConfig())
    again = stage_shard(run, "p", [rows([2]), rows([1])], SinkConfig())
    assert first.name == again.name


def test_pending_is_the_manifest_less_what_is_done(run: RunDir) -> None:
    manifest = pa.table({"row_id": pa.array([5, 6, 7], pa.int64())})
    assert pending_rows(manifest, np.array([6], np.int64))["row_id"].to_pylist() == [5, 7]
    assert pending_rows(manifest, np.empty(0, np.int64)).num_rows == 3


def test_failed_rows_stand_in_rejects_too_and_are_counted(run: RunDir) -> None:
    shard = stage_shard(run, "p", [rows([1, 2]), rows([3], "failed")], SinkConfig())
    run.commit(shard.name)
    assert pq.read_table(run.rejects / shard.name)["row_id"].to_pylist() == [3]
    total = totals(run)
    assert total.outcomes == {"ocr": 2, "failed": 1}
    assert total.failures == {"CORRUPT_IMAGE": 1}
    assert shard.failures == total.failures


def test_rejects_of_a_shard_that_was_never_committed_go(run: RunDir) -> None:
    (run.rejects / "p-0.parquet").write_bytes(b"")
    run.sweep()
    assert list(run.rejects.iterdir()) == []


def test_a_new_start_empties_staging_and_keeps_shards(run: RunDir) -> None:
    shard = stage_shard(run, "p", [rows([1])], SinkConfig())
    run.commit(shard.name)
    (run.staging / "half.tmp").write_bytes(b"half a file")
    run.create()
    assert list(run.staging.iterdir()) == []
    assert len(run.shard_files()) == 1


def test_find_row(run: RunDir) -> None:
    assert find_row(run, 1) is None
    run.commit(stage_shard(run, "p", [rows([1, 2])], SinkConfig()).name)
    found = find_row(run, 2)
    assert found is not None
    assert found["outcome"] == "ocr"


def test_one_process_at_a_time_and_the_lock_dies_with_its_holder(run: RunDir) -> None:
    hold = (
        "import sys,time; from pipelines.runs.directory import RunDir\n"
        "with RunDir(sys.argv[1]).locked():\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunBusy, match=f"process {holder.pid}"), run.locked():
            pass
    finally:
        holder.kill()
        holder.wait()
    with run.locked():
        assert (run.path / ".lock").read_text().startswith("process")


def test_errors_name_the_directory_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable, match="file") as caught:
        RunDir(tmp_path / "file" / "run").create()
    assert caught.value.remedy
    with pytest.raises(RunNotFound):
        RunDir(tmp_path / "nothing").read_record()
    with pytest.raises(ConfigError, match="s3://"):
        RunDir("gcs://bucket/run")


def test_beside_takes_the_first_free_number(run: RunDir) -> None:
    assert run.beside().path.name == "run-2"
    run.beside().create()
    assert run.beside().path.name == "run-3"


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    from pipelines.storage.output_errors import output_error

    error = output_error(tmp_path, OSError(28, "No space left on device"))
    assert "No space left" in error.message
    assert "free space" in error.remedy


def test_a_file_system_without_locks_is_not_called_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OutputUnwritable) as caught, RunDir(tmp_path / "run").locked():
        pass
    assert "No locks available" in caught.value.message
    assert "no file locks" in caught.value.remedy
