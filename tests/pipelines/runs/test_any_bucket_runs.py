"""A run directory in Google's or Azure's buckets: one driver at a time, every row once."""

from __future__ import annotations

import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from any_bucket import AnyBucket, on_clouds, through
from contended import all_writers_are_recorded, one_of_many_gets_it
from doubles.troubled_s3 import TroubledS3

from actors.failures import FAILURE
from pipelines.errors import OutputUnwritable, RunBusy, RunNotFound
from pipelines.runs.bucket_store import BucketStore
from pipelines.runs.directory import RunDir
from pipelines.runs.lease import Lease
from pipelines.runs.shards import SinkConfig, done_ids, ids_of, stage_shard
from pipelines.storage.objects import StorageSettings
from pipelines.storage.paths import BucketPath

pytest_plugins = ["any_bucket"]

PART = "part-00000"


@pytest.fixture
def run(any_bucket: AnyBucket) -> RunDir:
    return RunDir(f"{any_bucket.uri}/nights/one", any_bucket.settings)


def finished(*ids: int) -> pa.Table:
    """Rows; every third has failed."""
    faults = [{"kind": "CORRUPT_IMAGE", "message": ""} if i % 3 == 0 else None for i in ids]
    return pa.table(
        {
            "row_id": pa.array(ids, pa.int64()),
            "uri": [f"/scans/{one}.pdf" for one in ids],
            "outcome": ["failed" if fault else "ocr" for fault in faults],
            "reasons": pa.array([[] for _ in ids], pa.list_(pa.string())),
            "fetch_failure": pa.array(faults, FAILURE),
        }
    )


def committed(run: RunDir, *ids: int) -> str:
    shard = stage_shard(run, PART, [finished(one) for one in ids], SinkConfig())
    run.commit(shard.name)
    return shard.name


def with_lease(run: RunDir, lease_s: float) -> RunDir:
    assert isinstance(run.path, BucketPath)
    made = RunDir(run.path)
    made._store = BucketStore(run.path, lease_s=lease_s)
    return made


@on_clouds
def test_a_driver_that_was_away_too_long_commits_nothing(run: RunDir) -> None:
    with pytest.raises(RunNotFound):
        run.read_record()
    late, now = with_lease(run, 3600.0), with_lease(run, 1.0)
    with late.locked():
        committed(late, 1)
        shard = stage_shard(late, PART, [finished(2, 3)], SinkConfig())
        with now.locked():
            assert done_ids(now, PART).tolist() == [1]
            committed(now, 2)
            with pytest.raises(RunBusy, match="has taken over"):
                late.commit(shard.name)
            committed(now, 3)
    assert Counter(done_ids(run, PART).tolist()) == {1: 1, 2: 1, 3: 1}


@on_clouds
def test_a_driver_that_died_between_commit_and_copy_is_made_up_for(
    run: RunDir, any_bucket: AnyBucket, proxy: TroubledS3
) -> None:
    dying = RunDir(str(run.path), through(proxy, any_bucket, attempts=1))
    with dying.locked():
        committed(dying, 1)
        shard = stage_shard(dying, PART, [finished(2, 3)], SinkConfig())
        writes_shard = "COPY " if any_bucket.scheme == "gs" else "/shards/"
        proxy.plan(writes_shard, "internal error", times=2)
        with pytest.raises(OutputUnwritable, match="500"):
            dying.commit(shard.name)
    with run.locked():
        run.create()
        assert done_ids(run, PART).tolist() == [1, 2, 3]
        assert pq.read_table((run.rejects / shard.name).opened())["row_id"].to_pylist() == [3]


@on_clouds
def test_every_row_is_written_once_although_requests_fail(
    run: RunDir, any_bucket: AnyBucket, proxy: TroubledS3
) -> None:
    """A tenth of all requests fails in one of five ways, chosen with a seed."""
    stumbling = RunDir(str(run.path), through(proxy, any_bucket, attempts=9))
    proxy.share, proxy.chance = 0.1, random.Random(7)
    with stumbling.locked():
        for number in range(4):
            committed(stumbling, 2 * number, 2 * number + 1)
    assert proxy.met.total() > 3
    proxy.share = 0.0
    assert sorted(i for path in run.shard_files() for i in ids_of(path)) == list(range(8))


@on_clouds
def test_a_session_is_recorded_whoever_writes_at_the_same_time(run: RunDir) -> None:
    all_writers_are_recorded(run)


@on_clouds
def test_of_many_that_come_at_once_one_gets_it(any_bucket: AnyBucket) -> None:
    path = BucketPath(f"{any_bucket.uri}/run/lease.json", any_bucket.settings)
    one_of_many_gets_it(path)


@pytest.mark.parametrize("any_bucket", ["gs"], indirect=True)
def test_a_store_that_ignores_conditions_is_refused(
    any_bucket: AnyBucket, proxy: TroubledS3
) -> None:
    """Azure signs the conditions of a write, so no proxy can drop them."""
    proxy.ignores_conditions = True
    path = BucketPath(f"{any_bucket.uri}/run/lease.json", through(proxy, any_bucket))
    with pytest.raises(OutputUnwritable, match="ignores If-None-Match"):
        Lease(path).__enter__()


@on_clouds
def test_a_run_in_a_dead_store_is_unwritable(any_bucket: AnyBucket, dead_endpoint: str) -> None:
    settings = StorageSettings(endpoint_url=f"{dead_endpoint}/devstoreaccount1", max_attempts=1)
    with pytest.raises(OutputUnwritable, match=dead_endpoint) as caught:
        RunDir(f"{any_bucket.uri}/run", settings).locked().__enter__()
    assert "check bucket, endpoint and credentials" in caught.value.remedy
    lost = RunDir(f"{any_bucket.scheme}://no-such-bucket-1/run", any_bucket.settings)
    with pytest.raises(RunNotFound, match="no-such-bucket-1"):
        lost.read_record()
    with pytest.raises(OutputUnwritable, match="no-such-bucket-1"):
        lost.locked().__enter__()
