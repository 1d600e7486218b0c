"""A store that is down: the run waits, then stops; no row fails."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import tarfile
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_files import many_pages
from conftest import Ended, in_this_process, write_config
from doubles.troubled_s3 import TroubledS3

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import SourceUnavailable, WorkerUnfit
from pipelines.pages.fetch import FetchConfig, PageFetcher
from pipelines.run import Run
from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import Refetcher
from pipelines.sources.manifest import MANIFEST
from pipelines.storage.client import Storage
from pipelines.storage.objects import StorageSettings
from pipelines.storage.outage import PatientReads

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]


def reads(trouble: TroubledS3, outage_s: float, others: Sequence[str] = ()) -> PatientReads:
    settings = StorageSettings(
        endpoint_url=trouble.url, addressing="path", max_attempts=1, read_timeout_s=1.0
    )
    return PatientReads(Storage(settings), outage_s, others)


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
    ("fault", "kind"),
    [
        ("internal error", "STORAGE_ERROR"),
        ("expired", "PERMISSION_DENIED"),
        ("denied", "PERMISSION_DENIED"),
        ("missing", "OBJECT_MISSING"),
    ],
)
def test_one_object_that_cannot_be_read_is_a_failure_of_its_row(
    bucket: Bucket, trouble: TroubledS3, fault: str, kind: str
) -> None:
    good, uri = bucket.put("good", b"1"), bucket.put("bad", b"12345")
    if fault == "missing":
        bucket.client.delete_object(Bucket=bucket.name, Key="bad")
    else:
        trouble.plan("GET /" + bucket.name + "/bad", fault, 9)
    patient = reads(trouble, 600)
    assert patient.read(good, max_bytes=9, etag=None) == b"1"
    with pytest.raises(ItemFailure) as caught:
        patient.read(uri, max_bytes=9, etag=None)
    assert caught.value.kind is FailureKind(kind)
    assert patient.read(good, max_bytes=9, etag=None) == b"1"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("invalid key", "rejected the credentials"),
        ("bad signature", "rejected the credentials"),
        ("account problem", "rejected the credentials"),
        ("all access disabled", "rejected the credentials"),
        ("denied", "let this user read nothing"),
    ],
)
@pytest.mark.parametrize("read_before", [True, False])
def test_an_access_that_is_gone_for_all_objects_is_nobodys_row(
    bucket: Bucket, trouble: TroubledS3, fault: str, said: str, read_before: bool
) -> None:
    good, uri = bucket.put("good", b"1"), bucket.put("a", b"12345")
    patient = reads(trouble, 0.1)
    if read_before:
        assert patient.read(good, max_bytes=9, etag=None) == b"1"
    trouble.plan(f"/{bucket.name}", fault, 1000)
    with pytest.raises(SourceUnavailable, match=said) as caught:
        patient.read(uri, max_bytes=9, etag=None)
    assert "Committed rows are kept, and the outage failed no row" in caught.value.remedy


def test_a_right_to_list_is_no_right_to_read(bucket: Bucket, trouble: TroubledS3) -> None:
    """Rows that were readable when the source was listed are tried, too."""
    uris = [bucket.put(f"pages/{number}", b"1") for number in range(4)]
    trouble.plan(f"GET /{bucket.name}/pages/", "denied", 1000)
    with pytest.raises(SourceUnavailable, match="cannot be read either"):
        reads(trouble, 0, uris).read(uris[0], max_bytes=9, etag=None)


@pytest.mark.parametrize("provider", ["none", "throttled"])
def test_credentials_that_cannot_be_fetched_are_waited_for(
    bucket: Bucket,
    trouble: TroubledS3,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    provider: str,
) -> None:
    """As with a metadata service that does not answer: boto has no credentials for a moment."""
    uri, config = bucket.put("a", b"12345"), tmp_path / "config"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    config.write_text("[default]\n" + "credential_process = false\n" * (provider == "throttled"))
    patient = reads(trouble, 0)
    with pytest.raises(SourceUnavailable, match="rejected the credentials"):
        patient.read(uri, max_bytes=9, etag=None)
    config.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert patient.read(uri, max_bytes=9, etag=None) == b"12345"


def test_a_bucket_that_was_deleted_is_nobodys_row(bucket: Bucket, trouble: TroubledS3) -> None:
    uri = bucket.put("a", b"12345")
    bucket.client.delete_object(Bucket=bucket.name, Key="a")
    bucket.client.delete_bucket(Bucket=bucket.name)
    with pytest.raises(SourceUnavailable, match="has been gone for") as caught:
        reads(trouble, 0).read(uri, max_bytes=9, etag=None)
    assert "--new" in caught.value.remedy


# Local files.


def share(tmp_path: Path, files: int = 12) -> list[str]:
    """Files of a mounted folder."""
    folder = tmp_path / "share"
    folder.mkdir()
    for number in range(files):
        (folder / f"{number:02}.png").write_bytes(b"12345")
    return [str(path) for path in sorted(folder.iterdir())]


def local(outage_s: float, others: list[str] | None = None) -> PatientReads:
    return PatientReads(Storage(StorageSettings(max_attempts=1)), outage_s, others or [])


@pytest.mark.parametrize("how", ["the mount point is gone", "the mount point is empty"])
@pytest.mark.parametrize("read_before", [True, False])
def test_a_mount_that_is_gone_is_nobodys_row(tmp_path: Path, how: str, read_before: bool) -> None:
    uris, patient = share(tmp_path), local(0.1)
    if read_before:
        assert patient.read(uris[0], max_bytes=9, etag=None) == b"12345"
    (tmp_path / "share").rename(tmp_path / "away")
    if how.endswith("empty"):
        (tmp_path / "share").mkdir()
    with pytest.raises(SourceUnavailable, match="has been gone for") as caught:
        patient.read(uris[1], max_bytes=9, etag=None)
    assert "mount or restore it" in caught.value.remedy


def test_a_mount_that_comes_back_costs_only_time(tmp_path: Path) -> None:
    uris, patient = share(tmp_path), local(1.0)
    (tmp_path / "share").rename(tmp_path / "away")
    back = threading.Timer(0.3, (tmp_path / "away").rename, [tmp_path / "share"])
    back.start()
    assert patient.read(uris[1], max_bytes=9, etag=None) == b"12345"
    back.join()


def test_one_missing_file_is_missing_and_a_deleted_folder_too(tmp_path: Path) -> None:
    uris, patient = share(tmp_path), local(600)
    Path(uris[0]).unlink()
    with pytest.raises(ItemFailure) as caught:
        patient.read(uris[0], max_bytes=9, etag=None)
    assert caught.value.kind is FailureKind.OBJECT_MISSING
    elsewhere = tmp_path / "share" / "sub" / "one.png"
    patient = local(600, [*uris, str(elsewhere)])
    with pytest.raises(ItemFailure) as caught:  # files of other folders can be read
        patient.read(str(elsewhere), max_bytes=9, etag=None)
    assert caught.value.kind is FailureKind.OBJECT_MISSING


def test_a_fetcher_stops_and_fails_no_row(tmp_path: Path) -> None:
    """Batch by batch, as a worker calls it; the folder goes between two batches."""
    (tmp_path / "share").mkdir()
    pages = many_pages(tmp_path / "share", 12)
    rows = [
        dict(zip(MANIFEST.names, (number, str(page), 1, 1, None, 9, "png"), strict=True))
        for number, page in enumerate(pages)
    ]
    known = [str(page) for page in pages]
    config = FetchConfig(storage=StorageSettings(max_attempts=1), outage_s=0).knowing(known)
    fetch = PageFetcher(pickle.loads(pickle.dumps(config)))
    batches = [pa.Table.from_pylist(rows[i : i + 4], MANIFEST) for i in range(0, 12, 4)]
    pages[1].unlink()
    first = [row["fetch_failure"] for row in fetch(batches[0]).to_pylist()]
    assert [fault and fault["kind"] for fault in first] == [None, "OBJECT_MISSING", None, None]
    (tmp_path / "share").rename(tmp_path / "away")
    fetch = PageFetcher(config)  # a worker that has read nothing yet
    with pytest.raises(SourceUnavailable, match="cannot be read either"):
        fetch(batches[1])
    (tmp_path / "away").rename(tmp_path / "share")
    again = [row["fetch_failure"] for batch in batches[1:] for row in fetch(batch).to_pylist()]
    assert again == [None] * 8


def test_the_workers_of_a_run_know_files_that_were_readable(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    pages = many_pages(tmp_path / "scans", 3)
    (tmp_path / "scans" / "readme.txt").write_text("no document")
    with Run.from_file(write_config(tmp_path, tmp_path / "scans")).opened() as run:
        flow = run.flow()
    (config,) = (one.config for one in flow.stages if isinstance(one.config, FetchConfig))
    assert list(config.readable) == [str(page) for page in pages]


# The temporary folder.


@pytest.fixture
def small_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of 3 MB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    monkeypatch.setattr(tempfile, "tempdir", str(mount))
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def packed(path: Path, size: int) -> str:
    """A tar.gz with one member `page.png` of random bytes; returns the member's URI."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("page.png")
        member.size = size
        tar.addfile(member, io.BytesIO(os.urandom(size)))
    return f"{path}!/page.png"


def test_a_full_temporary_folder_is_nobodys_row_a_large_archive_is(
    tmp_path: Path, small_tmp: Path
) -> None:
    large, small = packed(tmp_path / "large.tar.gz", 5 << 20), packed(tmp_path / "s.tar.gz", 99)
    with pytest.raises(ItemFailure, match="cannot be unpacked in") as caught:
        local(600).read(large, max_bytes=9 << 20, etag=None)
    assert caught.value.kind is FailureKind.STORAGE_ERROR
    assert len(local(0).read(small, max_bytes=99, etag=None)) == 99
    (small_tmp / "ballast").write_bytes(bytes((3 << 20) - 4096))
    with pytest.raises(WorkerUnfit, match="no room to unpack") as stopped:
        local(0).read(packed(tmp_path / "s2.tar.gz", 99_999), max_bytes=99_999, etag=None)
    assert str(small_tmp) in stopped.value.remedy


def test_a_temporary_folder_that_is_gone_is_nobodys_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = packed(tmp_path / "s.tar.gz", 99)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(WorkerUnfit, match="no room to unpack"):
        local(0).read(uri, max_bytes=99, etag=None)


@pytest.mark.long
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
    assert in_this_process(tmp_path, "plan", config, "--sample", "0").code == 0
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
