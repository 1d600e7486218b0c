"""A store that is down: the run waits, then stops; no row fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from bad_files import many_pages
from conftest import Ended, write_config
from doubles.troubled_s3 import TroubledS3

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import SourceUnavailable
from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import Refetcher
from pipelines.sources.manifest import MANIFEST
from pipelines.storage.client import Storage
from pipelines.storage.objects import StorageSettings
from pipelines.storage.outage import PatientReads

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]


def reads(trouble: TroubledS3, outage_s: float) -> PatientReads:
    settings = StorageSettings(
        endpoint_url=trouble.url, addressing="path", max_attempts=1, read_timeout_s=1.0
    )
    return PatientReads(Storage(settings), outage_s)


def test_an_outage_longer_than_all_tries_is_waited_for(bucket: Bucket, trouble: TroubledS3) -> None:
    uri = bucket.put("a", b"12345")
    trouble.down_until = time.monotonic() + 4
    assert reads(trouble, 60).read(uri, max_bytes=9, etag=None) == b"12345"
    assert time.monotonic() >= trouble.down_until


def test_a_store_that_stays_down_stops_the_run_with_a_remedy(
    bucket: Bucket, trouble: TroubledS3
) -> None:
    uri = bucket.put("a", b"12345")
    trouble.down_until = time.monotonic() + 600
    with pytest.raises(SourceUnavailable, match="of the source has not answered for") as caught:
        reads(trouble, 1).read(uri, max_bytes=9, etag=None)
    assert "start the same command again" in caught.value.remedy


def test_expired_credentials_are_nobodys_row(bucket: Bucket, trouble: TroubledS3) -> None:
    uri = bucket.put("a", b"12345")
    patient = reads(trouble, 0)
    assert patient.read(uri, max_bytes=9, etag=None) == b"12345"
    trouble.expired_keys = {"test"}
    with pytest.raises(SourceUnavailable, match="has rejected the credentials for") as caught:
        patient.read(uri, max_bytes=9, etag=None)
    assert caught.value.remedy.startswith("renew the credentials, then")


@pytest.mark.parametrize(
    ("fault", "kind"), [("internal error", "STORAGE_ERROR"), ("expired", "PERMISSION_DENIED")]
)
def test_one_object_that_cannot_be_read_is_a_failure_of_its_row(
    bucket: Bucket, trouble: TroubledS3, fault: str, kind: str
) -> None:
    uri = bucket.put("bad", b"12345")
    trouble.plan("GET /" + bucket.name + "/bad", fault, 9)
    with pytest.raises(ItemFailure) as caught:
        reads(trouble, 600).read(uri, max_bytes=9, etag=None)
    assert caught.value.kind is FailureKind(kind)
    assert reads(trouble, 0).read(bucket.put("good", b"1"), max_bytes=9, etag=None) == b"1"


def test_a_run_whose_source_goes_down_stops_and_goes_on_where_it_was(
    tmp_path: Path, bucket: Bucket, trouble: TroubledS3, nightjar: Callable[..., Ended]
) -> None:
    """Its run directory is local: what it could read until then is committed."""
    for page in many_pages(tmp_path, 24):
        bucket.put(f"pages/{page.name}", page.read_bytes())
    storage = {"endpoint_url": trouble.url, "addressing": "path", "max_attempts": 2}
    config = write_config(
        tmp_path,
        f"s3://{bucket.name}/pages",
        fetch={"storage": storage, "outage_s": 1.0, "threads": 1},
        fetch_pool={"num_cpus": 0.25, "batch_size": 4},
        sink={"rows_per_shard": 4, "flush_seconds": 0.5},
    )
    assert nightjar("plan", config).code == 0
    trouble.down_after(f"GET /{bucket.name}/pages/", 8)
    stopped = nightjar("run", config)
    assert stopped.code == 3, stopped.err
    assert "of the source has not answered for" in stopped.err
    trouble.down_until = 0.0
    finished = nightjar("run", config)
    assert finished.code == 0, finished.err
    run = RunDir(tmp_path / "run")
    rows = [row for path in run.shard_files() for row in pq.read_table(path).to_pylist()]
    assert Counter(Counter(row["row_id"] for row in rows).values()) == {1: 24}
    assert not [row for row in rows if row["fetch_failure"]]


def test_reading_a_finished_run_does_not_wait_for_the_store(
    tmp_path: Path, bucket: Bucket, trouble: TroubledS3
) -> None:
    uri = bucket.put("page.png", b"12345")
    storage = {"endpoint_url": trouble.url, "addressing": "path", "max_attempts": 1}
    run = RunDir(tmp_path / "run")
    run.create()
    run.write_record({"config": {"fetch": {"storage": storage}}})
    trouble.down_until = float("inf")
    wanted = dict.fromkeys(MANIFEST.names) | {"row_id": 0, "uri": uri, "page": 1, "bytes": 5}
    (row,) = Refetcher(run)([wanted])
    assert row["image"] is None
    assert row["fetch_failure"]["kind"] == "STORAGE_ERROR"
