"""A run directory in a bucket: the view of readers, and robustness against faults."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bucket_driver import plan, started
from contended import all_writers_are_recorded
from doubles.troubled_s3 import TroubledS3

from actors.failures import FAILURE, FailureKind, ItemFailure
from pipelines.errors import (
    OutputUnwritable,
    RunBusy,
    RunConflict,
    RunDamaged,
    RunNotFound,
    RunUnreadable,
)
from pipelines.pages.fetch import FetchConfig, PageFetcher
from pipelines.runs import bucket_store
from pipelines.runs.bucket_store import BucketStore
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import SinkConfig, done_ids, find_row, ids_of, stage_shard, totals
from pipelines.sources.manifest import MANIFEST, iter_parts, read_part
from pipelines.storage.client import Storage
from pipelines.storage.objects import StorageSettings
from pipelines.storage.paths import BucketPath, write_whole

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]

PART = "part-00000"


def rows(ids: list[int], outcome: str = "ocr") -> pa.Table:
    failure = {"kind": "CORRUPT_IMAGE", "message": "cut off"} if outcome == "failed" else None
    reasons = [["CORRUPT_IMAGE"] if failure else []] * len(ids)
    return pa.table(
        {
            "row_id": pa.array(ids, pa.int64()),
            "uri": [f"/{row_id}.png" for row_id in ids],
            "outcome": [outcome] * len(ids),
            "reasons": pa.array(reasons, pa.list_(pa.string())),
            "fetch_failure": pa.array([failure] * len(ids), FAILURE),
        }
    )


def committed(run: RunDir, *tables: pa.Table) -> str:
    shard = stage_shard(run, PART, tables, SinkConfig())
    run.commit(shard.name)
    return shard.name


@pytest.fixture
def run(bucket: Bucket) -> RunDir:
    return RunDir(f"s3://{bucket.name}/nights/one", bucket.settings)


def settings_through(trouble: TroubledS3, attempts: int) -> StorageSettings:
    return StorageSettings(
        endpoint_url=trouble.url, addressing="path", max_attempts=attempts, read_timeout_s=1.0
    )


def through(trouble: TroubledS3, run: RunDir, attempts: int = 6) -> RunDir:
    return RunDir(str(run.path), settings_through(trouble, attempts))


def keys(bucket: Bucket, prefix: str = "nights/one/") -> list[str]:
    found = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix=prefix)
    return [one["Key"].removeprefix(prefix) for one in found.get("Contents", ())]


def test_a_staged_shard_is_not_among_the_shards_until_it_is_committed(
    run: RunDir, bucket: Bucket
) -> None:
    with run.locked():
        run.create()
        shard = stage_shard(run, PART, [rows([3, 1]), rows([2], "failed")], SinkConfig())
        staged = [key for key in keys(bucket) if key.endswith(".parquet")]
        assert len(staged) == 2
        assert all(key.startswith("staging/") for key in staged), "no glob over shards/ finds them"
        run.commit(shard.name)
        assert done_ids(run, PART).tolist() == [1, 2, 3]
        assert done_ids(run, "part-00001").tolist() == []
    assert [key for key in keys(bucket) if key.endswith(".parquet")] == [
        f"rejects/{shard.name}",
        f"shards/{shard.name}",
    ]


def test_readers_need_no_lease_and_see_what_is_committed(run: RunDir) -> None:
    with run.locked():
        run.write_record({"job": "ocr_backfill"})
        committed(run, rows([1, 2]), rows([3], "failed"))
        committed(run, rows([4]))
        reader = RunDir(str(run.path), run.path.settings)
        counted = totals(reader)
        assert (counted.rows, counted.shards, counted.outcomes["failed"]) == (4, 2, 1)
        assert counted.bytes == sum(path.stat().st_size for path in reader.shard_files())
        found = find_row(reader, 3)
        assert found is not None
        assert found["fetch_failure"] == {"kind": "CORRUPT_IMAGE", "message": "cut off"}
        assert find_row(reader, 9) is None
        assert reader.read_record() == {"job": "ocr_backfill"}


def test_missing_runs_and_dead_stores_are_named(
    run: RunDir, dead_endpoint: str, bucket: Bucket, trouble: TroubledS3
) -> None:
    with pytest.raises(RunNotFound, match=rf"no run at s3://{bucket.name}/nights/one"):
        run.read_record()
    dead = RunDir(str(run.path), StorageSettings(endpoint_url=dead_endpoint, addressing="path"))
    with pytest.raises(RunUnreadable, match="Could not connect") as caught:
        dead.read_record()
    assert "AWS_ENDPOINT_URL" in caught.value.remedy
    with pytest.raises(OutputUnwritable, match="Could not connect"), dead.locked():
        pass
    trouble.down_until = float("inf")
    with pytest.raises(OutputUnwritable), through(trouble, run, attempts=9).locked():
        pass
    assert trouble.met["reset"] == 3, "nine tries are for a store that has answered"
    lost = RunDir("s3://no-such-bucket-1/run", bucket.settings)
    with pytest.raises(OutputUnwritable, match="no-such-bucket-1"), lost.locked():
        pass


def test_beside_takes_the_first_free_prefix(run: RunDir) -> None:
    assert run.beside().path == run.path
    run.write_record({})
    assert str(run.beside().path) == f"{run.path}-2"


def test_a_driver_that_died_between_commit_and_copy_is_made_up_for(
    run: RunDir, trouble: TroubledS3
) -> None:
    dying = through(trouble, run, attempts=1)
    with dying.locked():
        committed(dying, rows([1]))
        shard = stage_shard(dying, PART, [rows([2]), rows([3], "failed")], SinkConfig())
        trouble.plan("COPY", "slow down")
        with pytest.raises(OutputUnwritable, match="SlowDown"):
            dying.commit(shard.name)
    assert len(run.shard_files()) == 1
    with run.locked():
        run.create()
        assert done_ids(run, PART).tolist() == [1, 2, 3]
        assert pq.read_table((run.rejects / shard.name).opened())["row_id"].to_pylist() == [3]


def test_a_commit_that_nobody_has_any_more_is_owed_again(
    run: RunDir, trouble: TroubledS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = through(trouble, run, attempts=1)
    monkeypatch.setattr(bucket_store, "_STALE_S", (0.1,))
    with dying.locked():
        shard = stage_shard(dying, PART, [rows([2])], SinkConfig())
        trouble.plan("COPY", "slow down")
        with pytest.raises(OutputUnwritable):
            dying.commit(shard.name)
    assert isinstance(run.path, BucketPath)
    for staged in (run.path / "staging").walk_files():
        staged.unlink()
    with run.locked():
        assert done_ids(run, PART).tolist() == []
        committed(run, rows([2]))
    assert done_ids(run, PART).tolist() == [2]


def test_a_driver_that_was_away_too_long_commits_nothing(run: RunDir) -> None:
    """The one that took over reads the same rows: both must not count."""
    assert isinstance(run.path, BucketPath)
    away = BucketStore(run.path, lease_s=3600.0)  # its first sign of life is due in 20 minutes
    late = RunDir(run.path)
    late._store = away
    now = RunDir(run.path)
    now._store = BucketStore(run.path, lease_s=1.0)
    with late.locked():
        committed(late, rows([1]))
        shard = stage_shard(late, PART, [rows([2, 3])], SinkConfig())
        with now.locked():
            assert done_ids(now, PART).tolist() == [1]
            committed(now, rows([2]))
            with pytest.raises(RunBusy, match="has taken over"):
                late.commit(shard.name)
            committed(now, rows([3]))
    assert Counter(done_ids(run, PART).tolist()) == {1: 1, 2: 1, 3: 1}


def test_a_session_is_recorded_whoever_writes_at_the_same_time(run: RunDir) -> None:
    all_writers_are_recorded(run)


def test_a_session_is_recorded_once_although_the_answer_is_lost(
    run: RunDir, bucket: Bucket, trouble: TroubledS3
) -> None:
    run.write_record({"sessions": []})
    stumbling = through(trouble, run)
    for number in range(2):
        trouble.plan(f"PUT /{bucket.name}/nights/one/run.json", "lost answer")
        stumbling.change_record(lambda record, n=number: {"sessions": [*record["sessions"], n]})
    assert trouble.met["lost answer"] == 2
    assert run.read_record()["sessions"] == [0, 1]


def test_a_shard_that_nobody_committed_is_named(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_store, "_STALE_S", (0.1,))
    with run.locked():
        committed(run, rows([1]))
    write_whole(run.shards / "part-00000-foreign.parquet", b"")
    with (
        pytest.raises(RunConflict, match=r"foreign\.parquet was not committed by Nightjar"),
        run.locked(),
    ):
        pass
    with pytest.raises(RunDamaged, match=r"foreign\.parquet is damaged"):
        totals(run)


def test_a_listing_that_is_behind_is_waited_for(run: RunDir, trouble: TroubledS3) -> None:
    first = through(trouble, run)
    with first.locked():
        committed(first, rows([1]))
        trouble.stale = True
        assert len(first.shard_files()) == 1
        committed(first, rows([2]))
        assert done_ids(first, PART).tolist() == [1, 2], "the holder needs no listing"
    threading.Timer(1.0, lambda: setattr(trouble, "stale", False)).start()
    again = through(trouble, run)
    with again.locked():
        assert done_ids(again, PART).tolist() == [1, 2]


def test_a_listing_that_stays_behind_stops_the_run_before_it_writes_rows_twice(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_store, "_STALE_S", (0.1, 0.1))
    with run.locked():
        name = committed(run, rows([1]))
        committed(run, rows([2]))
    (run.shards / name).unlink()
    with pytest.raises(RunConflict, match="lists 1 shards, which are not the 2") as caught:
        run.locked().__enter__()
    assert "delete s3://" in caught.value.remedy
    (run.path / "lease.json").unlink()
    with run.locked():
        assert done_ids(run, PART).tolist() == [2], "what is listed counts"


def test_every_row_is_written_once_although_requests_fail(run: RunDir, trouble: TroubledS3) -> None:
    """A fifth of all requests fails in one of five ways, chosen with a seed."""
    stumbling = through(trouble, run, attempts=9)
    trouble.share, trouble.chance = 0.2, random.Random(7)
    with stumbling.locked():
        for number in range(5):
            outcome = "failed" if number % 2 == 0 else "ocr"
            committed(stumbling, rows([2 * number, 2 * number + 1], outcome))
    with stumbling.locked():
        assert done_ids(stumbling, PART).tolist() == list(range(10))
    assert trouble.met.total() > 8
    trouble.share = 0.0
    assert sorted(i for path in run.shard_files() for i in ids_of(path)) == list(range(10))
    rejected = [pq.read_table(path.opened()).num_rows for path in run.rejects.iterdir()]
    assert rejected == [2, 2, 2]


def test_a_driver_killed_again_and_again_writes_every_row_once(
    bucket: Bucket, trouble: TroubledS3, tmp_path: Path
) -> None:
    """Four kill -9, at moments drawn with a seed, while one request of twenty fails."""
    for count in (36, 144, 576):
        folder = tmp_path / str(count)
        folder.mkdir()
        run = RunDir(f"s3://{bucket.name}/nights/{count}", bucket.settings)
        plan(run, folder, count, bucket.settings)
        if survived_kills(run, trouble) == 4:
            return
    raise AssertionError("three nights were over before their last kill")


def survived_kills(run: RunDir, trouble: TroubledS3) -> int:
    """Of four kills, how many came before the night was over; no row is lost or written twice."""
    owed_ids = sorted(read_part(next(iter_parts(run.manifest)))["row_id"].to_pylist())
    stumbling, chance = through(trouble, run, attempts=9), random.Random(11)
    trouble.share = 0.05
    killed = 0
    for _ in range(4):
        driver, there = started(stumbling), len(run.shard_files())
        while driver.is_alive() and len(run.shard_files()) < there + 1:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        killed += driver.is_alive()
        driver.kill()
        driver.join()
    last = started(stumbling)
    last.join()
    assert last.exitcode == 0
    written = [pq.read_table(path.opened())["row_id"].to_pylist() for path in run.shard_files()]
    assert sorted(row_id for ids in written for row_id in ids) == owed_ids
    rejected = [
        pq.read_table(path.opened())["row_id"].to_pylist() for path in run.rejects.iterdir()
    ]
    assert sorted(i for ids in rejected for i in ids) == [i for i in owed_ids if i % 3 == 0]
    return killed


def test_an_outage_of_some_seconds_is_outlasted(run: RunDir, trouble: TroubledS3) -> None:
    through_it = through(trouble, run, attempts=9)
    with through_it.locked():
        committed(through_it, rows([1]))
        trouble.down_until = time.monotonic() + 2.0
        committed(through_it, rows([2]))
        assert time.monotonic() >= trouble.down_until
        assert trouble.met["reset"] >= 2
    assert done_ids(run, PART).tolist() == [1, 2]


def test_a_write_that_is_tried_again_is_whole(bucket: Bucket, trouble: TroubledS3) -> None:
    """A file that was read to its end by the first try would be empty in the second."""
    storage = Storage(settings_through(trouble, 3))
    for fault in ("slow down", "reset", "lost answer"):
        uri = f"s3://{bucket.name}/{fault}"
        trouble.plan("PUT", fault)
        with storage.open_output(uri) as file:
            file.write(b"all of it")
        assert storage.read(uri, max_bytes=99) == b"all of it"
        assert trouble.met[fault] == 1


def test_credentials_that_were_renewed_in_a_file_are_read_again(
    bucket: Bucket, trouble: TroubledS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = bucket.put("a", b"12345")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    lines = "[default]\naws_access_key_id = {}\naws_secret_access_key = x\n"
    file.write_text(lines.format("OLD"))
    storage = Storage(settings_through(trouble, 2))
    assert storage.read(uri, max_bytes=9) == b"12345"
    trouble.expired_keys = {"OLD"}
    file.write_text(lines.format("NEW"))
    assert storage.read(uri, max_bytes=9) == b"12345"
    assert trouble.met["expired"] == 1
    trouble.expired_keys = {"OLD", "NEW"}
    with pytest.raises(ItemFailure, match="ExpiredToken") as caught:
        storage.read(uri, max_bytes=9)
    assert caught.value.kind is FailureKind.PERMISSION_DENIED
    with pytest.raises(ItemFailure) as caught:
        storage.stat(uri)  # a HEAD has no body that could say why
    assert caught.value.kind is FailureKind.PERMISSION_DENIED


def test_each_fault_of_a_source_is_named_in_its_row(bucket: Bucket, trouble: TroubledS3) -> None:
    from PIL import Image

    faults = {
        "fine.png": ("", 0, None),
        "cut.png": ("cut", 1, None),
        "slow.png": ("slow down", 1, None),
        "down.png": ("internal error", 4, "STORAGE_ERROR"),
        "silent.png": ("silence", 4, "STORAGE_ERROR"),
        "denied.png": ("denied", 2, "PERMISSION_DENIED"),
        "expired.png": ("expired", 4, "PERMISSION_DENIED"),
    }
    listed = []
    for number, (name, (fault, times, _)) in enumerate(faults.items()):
        file = pa.BufferOutputStream()
        Image.new("L", (30, 20), number).save(file, "PNG")
        uri = bucket.put(name, file.getvalue().to_pybytes())
        etag = bucket.client.head_object(Bucket=bucket.name, Key=name)["ETag"].strip('"')
        listed.append((number, uri, 1, 1, etag, 100, "png"))
        trouble.plan(f"/{name}", fault, times)
    pages = pa.Table.from_pylist(
        [dict(zip(MANIFEST.names, row, strict=True)) for row in listed], MANIFEST
    )
    config = FetchConfig(storage=settings_through(trouble, 2))
    fetcher = PageFetcher(config.knowing([row[1] for row in listed[:2]]))
    fetched = fetcher(pages).to_pylist()
    found = {Path(row["uri"]).name: (row["fetch_failure"] or {}).get("kind") for row in fetched}
    assert found == {name: kind for name, (_, _, kind) in faults.items()}
