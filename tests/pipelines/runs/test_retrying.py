"""Rows that failed are owed again: at no moment is a row lost or in two shards."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doubles.troubled_s3 import TroubledS3
from retry_driver import AGAIN, KIND, ROWS, commit, in_rejects, in_shards, made, retry, started

from actors.failures import FailureKind
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir
from pipelines.runs.retrying import failure_kinds, owe_again
from pipelines.runs.shards import SinkConfig, totals
from pipelines.storage.objects import StorageSettings
from pipelines.storage.paths import parquet

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["in_memory", "s3_server"]

GOOD = ROWS.keys() - AGAIN


def check_between(run: RunDir) -> None:
    """What readers see at any moment: every row that stays, once; every other at most once."""
    seen = Counter(row["row_id"] for row in in_shards(run))
    assert max(seen.values()) == 1, "a row is in two shards"
    assert seen.keys() >= GOOD, "a row is lost"
    assert seen.keys() <= ROWS.keys()


def check_settled(run: RunDir) -> None:
    """After the next start: rejects are the failed rows, and nothing is unfinished."""
    check_between(run)
    failed = [row["row_id"] for row in in_shards(run) if row["outcome"] == "failed"]
    assert in_rejects(run) == sorted(failed)
    assert not (run.path / "replacing").exists()


def finished(run: RunDir) -> None:
    """Owe the rest again, process what is owed, and check the whole run."""
    retry(run)
    assert {row["row_id"] for row in in_shards(run)} == GOOD
    with run.locked():
        commit(run, dict.fromkeys(sorted(AGAIN)))
    counted = totals(run)
    assert (counted.rows, counted.retryable) == (len(ROWS), 2)
    assert counted.outcomes == {"ocr": 8, "failed": 2}
    check_settled(run)
    with run.locked():  # in a bucket: the listing agrees with the lease
        assert len(run.shard_files()) == counted.shards == 4


def test_killed_at_each_step_on_a_disk(memory_folder: Path) -> None:
    template = made(RunDir(memory_folder / "made"))
    for step in count():
        run = RunDir(memory_folder / "run")
        shutil.copytree(template.path, run.path)
        process = started(run, step)
        process.join()
        check_between(run)
        with run.locked():
            run.create()
            run.sweep()
        check_settled(run)
        finished(run)
        shutil.rmtree(run.path)
        if process.exitcode == 0:
            break
        assert process.exitcode == -9
    assert step > 20


def cut_off(run: RunDir, trouble: TroubledS3, requests: str | tuple[str, ...], after: int) -> bool:
    """Whether a driver was cut off by a store that is down after so many of these requests."""
    settings = StorageSettings(endpoint_url=trouble.url, addressing="path", max_attempts=1)
    trouble.down_after(requests, after)
    process = started(RunDir(str(run.path), settings))
    process.join()
    cut = trouble.down_until > 0
    assert cut or process.exitcode == 0, "the driver stopped for another reason"
    trouble.up()
    check_between(run)
    finished(run)
    return cut


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("COPY", 0),  # the lease names the new shard; the old one is there
        ("COPY", 1),  # only the rejects are replaced
        ("DELETE /BUCKET/night/shards/", 0),  # named as dropped, not deleted
    ],
)
def test_cut_off_behind_a_commit_in_a_bucket(
    bucket: Bucket, trouble: TroubledS3, line: str, after: int
) -> None:
    run = made(RunDir(f"s3://{bucket.name}/night", bucket.settings))
    assert cut_off(run, trouble, line.replace("BUCKET", bucket.name), after)


@pytest.mark.long
def test_cut_off_at_each_request_that_changes_a_bucket(bucket: Bucket, trouble: TroubledS3) -> None:
    for step in count(3):  # the first three take the lease
        run = made(RunDir(f"s3://{bucket.name}/{step}", bucket.settings))
        if not cut_off(run, trouble, ("PUT", "COPY", "DELETE"), step):
            break
    assert step > 20


def test_what_was_taken_out_is_kept_and_counted(tmp_path: Path) -> None:
    run = made(RunDir(tmp_path / "run"))
    before = {path.name: path.stat().st_mtime_ns for path in run.shard_files()}
    with run.locked():
        retried = owe_again(run, {KIND}, SinkConfig())
        assert owe_again(run, {KIND}, SinkConfig()).rows.total() == 0
    assert retried.rows == {"part-00000": 4}
    assert retried.kinds == {KIND: 4}
    kept = [parquet(path).read() for path in sorted(run.superseded.iterdir())]
    assert sorted(row_id for table in kept for row_id in table["row_id"].to_pylist()) == [
        *sorted(AGAIN)
    ]
    after = {path.name: path.stat().st_mtime_ns for path in run.shard_files()}
    assert after.items() <= before.items(), "the report reads the time of commits from it"


def test_kinds_are_named_in_any_case(tmp_path: Path) -> None:
    assert failure_kinds(["storage_error,Render_Timeout", "VLM_LOOP"]) == {
        "STORAGE_ERROR",
        "RENDER_TIMEOUT",
        "VLM_LOOP",
    }
    assert failure_kinds(["all"]) == {kind.value for kind in FailureKind}
    with pytest.raises(ConfigError, match="--retry-failed STORAGE: no such kind") as caught:
        failure_kinds(["STORAGE"])
    assert "STORAGE_ERROR" in caught.value.remedy
