"""The same for every object store: reading, listing, writing, and the names of faults."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from any_bucket import AnyBucket, on_clouds, on_every_store, through
from doubles.troubled_s3 import TroubledS3
from gcs_server import PAGE, GcsServer

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import OutputUnwritable, SourceUnavailable
from pipelines.sources.listing import Source, SourceConfig
from pipelines.storage.client import Storage
from pipelines.storage.cloud import client
from pipelines.storage.cloud.stores import account_of
from pipelines.storage.local_copies import local_copy
from pipelines.storage.objects import (
    BucketMissing,
    Conflict,
    CredentialsRefused,
    StorageSettings,
    TransientFailure,
)
from pipelines.storage.outage import PatientReads
from pipelines.storage.paths import BucketPath

pytest_plugins = ["any_bucket"]

MB = 1 << 20


def fault_of(call: Callable[[], object]) -> ItemFailure:
    with pytest.raises(ItemFailure) as caught:
        call()
    return caught.value


@on_every_store
def test_objects_are_read_whole_in_part_and_in_their_version(any_bucket: AnyBucket) -> None:
    storage = Storage(any_bucket.settings)
    for key in ("a b/c#1 100%25+&?!.pdf", "ü/文書.pdf", "~[1]*.png", "%41"):
        uri = any_bucket.put(key, key.encode())
        entry = storage.stat(uri)
        assert (entry.uri, entry.bytes) == (uri, len(key.encode()))
        assert storage.read(uri, max_bytes=MB, etag=entry.etag) == key.encode()
        assert storage.read_head(uri, 3) == key.encode()[:3]
        assert storage.read_head(uri, 300) == key.encode()
        assert entry in list(storage.bucket(uri).list(f"{any_bucket.uri}/"))
    stale = storage.stat(uri).etag
    any_bucket.put(key, b"other")
    changed = fault_of(lambda: storage.read(uri, max_bytes=MB, etag=stale))
    assert changed.kind is FailureKind.OBJECT_CHANGED
    assert stale in changed.message


@on_every_store
def test_faults_have_names(any_bucket: AnyBucket) -> None:
    read = Storage(any_bucket.settings).read
    uri, empty = any_bucket.put("a", b"12345"), any_bucket.put("empty", b"")
    assert fault_of(lambda: read(uri + "x", max_bytes=9)).kind is FailureKind.OBJECT_MISSING
    assert fault_of(lambda: read(uri, max_bytes=4)).kind is FailureKind.TOO_MANY_BYTES
    assert fault_of(lambda: read(empty, max_bytes=9)).kind is FailureKind.EMPTY_FILE
    head = fault_of(lambda: Storage(any_bucket.settings).read_head(empty, 9))
    assert head.kind is FailureKind.EMPTY_FILE
    nowhere = f"{any_bucket.scheme}://no-such-bucket-1/a"
    assert isinstance(fault_of(lambda: read(nowhere, max_bytes=9)), BucketMissing)
    if any_bucket.scheme != "s3":  # there the first read finds it
        reach = Storage(any_bucket.settings).bucket(nowhere).reach
        assert isinstance(fault_of(lambda: reach(nowhere)), BucketMissing)


@on_clouds
def test_a_name_that_obstore_cannot_say_is_named(any_bucket: AnyBucket) -> None:
    for key in ("a//b", "a/../b"):
        uri = f"{any_bucket.uri}/{key}"
        fault = fault_of(lambda uri=uri: Storage(any_bucket.settings).read(uri, max_bytes=9))
        assert fault.kind is FailureKind.STORAGE_ERROR
        assert "segment" in fault.message
    any_bucket.put("in/a//b.png", b"x")
    with pytest.raises(SourceUnavailable, match="in/a//b") as caught:
        list(Source(SourceConfig(path=f"{any_bucket.uri}/in"), Storage(any_bucket.settings)))
    assert "rename the object" in caught.value.message


@on_clouds
def test_a_stumbling_store_is_asked_again(any_bucket: AnyBucket, proxy: TroubledS3) -> None:
    body = os.urandom(300_000)
    uri = any_bucket.put("a", body)
    entry = Storage(any_bucket.settings).stat(uri)
    storage = Storage(through(proxy, any_bucket))
    for trouble in ("internal error", "slow down", "reset", "cut", "silence"):
        proxy.plan("GET ", trouble)
        assert storage.read(uri, max_bytes=MB, etag=entry.etag) == body
    for trouble in ("slow down", "cut"):
        proxy.plan("GET ", trouble)
        assert list(storage.bucket(uri).list(f"{any_bucket.uri}/")) == [entry]
    proxy.plan("GET ", "cut")
    with io.BytesIO() as file:
        storage.bucket(uri).download(uri, file, max_bytes=MB, etag=entry.etag)
        assert file.read() == body
    assert proxy.met.total() == 8
    proxy.plan("GET ", "slow down", times=2)
    assert isinstance(fault_of(lambda: storage.read(uri, max_bytes=MB)), TransientFailure)


@on_every_store
def test_refusals_of_an_object_and_of_the_credentials_are_told_apart(
    any_bucket: AnyBucket, proxy: TroubledS3
) -> None:
    uri = any_bucket.put("a", b"12345")
    storage = Storage(through(proxy, any_bucket))
    proxy.plan("GET ", "denied")
    denied = fault_of(lambda: storage.read(uri, max_bytes=9))
    assert denied.kind is FailureKind.PERMISSION_DENIED
    assert not isinstance(denied, CredentialsRefused)
    proxy.plan("GET ", "expired")
    assert storage.read(uri, max_bytes=9) == b"12345", "fresh credentials are tried once"
    proxy.plan("GET ", "expired", times=2)
    assert isinstance(fault_of(lambda: storage.read(uri, max_bytes=9)), CredentialsRefused)
    proxy.plan("GET ", "expired", times=2)
    assert isinstance(fault_of(lambda: storage.bucket(uri).reach(uri)), CredentialsRefused)


@on_every_store
def test_an_outage_fails_no_row(any_bucket: AnyBucket, proxy: TroubledS3) -> None:
    uri = any_bucket.put("a", b"12345")
    reads = PatientReads(Storage(through(proxy, any_bucket, attempts=1)), outage_s=0)
    proxy.down_until = float("inf")
    with pytest.raises(SourceUnavailable, match="has not answered for"):
        reads.read(uri, max_bytes=9, etag=None)
    proxy.down_until = 0.0
    assert reads.read(uri, max_bytes=9, etag=None) == b"12345"


@on_every_store
def test_an_unreachable_endpoint_is_named(any_bucket: AnyBucket, dead_endpoint: str) -> None:
    changes = {"endpoint_url": f"{dead_endpoint}/devstoreaccount1", "max_attempts": 1}
    storage = Storage(any_bucket.settings.model_copy(update=changes))
    fault = fault_of(lambda: storage.read(f"{any_bucket.uri}/a", max_bytes=9))
    assert fault.kind is FailureKind.STORAGE_ERROR
    assert dead_endpoint in fault.message
    assert "Debug" not in fault.message


@on_every_store
def test_a_source_is_a_prefix_a_glob_an_object_or_a_list(any_bucket: AnyBucket) -> None:
    for key in ("in/1.png", "in/2.pdf", "in/sub/3.png", "in/.hidden", "inside.png", "in/sub/"):
        any_bucket.put(key, b"" if key.endswith("/") else b"x")
    any_bucket.put("in/empty.png", b"")
    any_bucket.put("lists/night.csv", f"uri\n{any_bucket.uri}/in/1.png\n2.pdf\n".encode())

    def names(path: str, **config: bool) -> list[str]:
        source = SourceConfig(path=f"{any_bucket.uri}{path}", **config)  # type: ignore[arg-type]
        listed = Source(source, Storage(any_bucket.settings))
        return [one.uri.removeprefix(any_bucket.uri) for one in listed]

    assert names("/in") == ["/in/1.png", "/in/2.pdf", "/in/empty.png", "/in/sub/3.png"]
    assert names("/in/") == names("/in")
    assert names("/in", recursive=False) == ["/in/1.png", "/in/2.pdf", "/in/empty.png"]
    assert names("/in/*.pdf") == ["/in/2.pdf"]
    assert names("/**/3*") == ["/in/sub/3.png"]
    assert names("/in/1.png") == ["/in/1.png"]
    assert names("/in/1") == []
    assert names("/lists/night.csv") == ["/in/1.png", "/lists/2.pdf"]


@pytest.mark.parametrize("any_bucket", ["gs"], indirect=True)
def test_a_listing_that_breaks_goes_on_where_it_was(
    any_bucket: AnyBucket, proxy: TroubledS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PAGE", PAGE)
    for number in range(2 * PAGE + 1):
        any_bucket.put(f"in/{number:03}", b"x")
    store = Storage(through(proxy, any_bucket)).bucket(any_bucket.uri)
    proxy.plan("continuation-token=100", "cut")
    found = [entry.uri.rpartition("/")[2] for entry in store.list(f"{any_bucket.uri}/in/")]
    assert found == [f"{number:03}" for number in range(2 * PAGE + 1)]
    proxy.plan("continuation-token=50", "slow down")
    listing = store.list(f"{any_bucket.uri}/in/")
    first = next(listing)
    any_bucket.put("in/000-new", b"x")
    with pytest.raises(ItemFailure, match="its objects changed while it was listed"):
        list(listing)
    assert first.uri.endswith("/000")
    assert proxy.met.total() == 2


@on_every_store
def test_a_wrong_bucket_stops_the_planning_with_a_remedy(any_bucket: AnyBucket) -> None:
    source = SourceConfig(path=f"{any_bucket.scheme}://no-such-bucket-1/scans")
    with pytest.raises(SourceUnavailable, match="no-such-bucket-1") as caught:
        list(Source(source, Storage(any_bucket.settings)))
    assert "check the bucket" in caught.value.remedy


@on_every_store
def test_archives_are_read_in_place_and_models_copied(
    any_bucket: AnyBucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("page.png", b"page" * 1000)
    uri = any_bucket.put("models/a.zip", packed.getvalue())
    storage = Storage(any_bucket.settings)
    assert storage.read(f"{uri}!/page.png", max_bytes=MB) == b"page" * 1000
    monkeypatch.setenv("NIGHTJAR_CACHE", str(tmp_path))
    copy = local_copy(f"{any_bucket.uri}/models", any_bucket.settings)
    assert (copy / "a.zip").read_bytes() == packed.getvalue()


@on_every_store
def test_writes_are_atomic_conditional_and_repeated(
    any_bucket: AnyBucket, proxy: TroubledS3
) -> None:
    storage, uri = Storage(through(proxy, any_bucket)), f"{any_bucket.uri}/run/a"
    store = storage.bucket(uri)
    first = store.put(uri, b"1", new=True)
    assert isinstance(fault_of(lambda: store.put(uri, b"2", new=True)), Conflict)
    second = store.put(uri, b"2", replaces=first)
    assert second != first
    for stale in (first, store.never):
        assert isinstance(fault_of(lambda v=stale: store.put(uri, b"3", replaces=v)), Conflict)
    gone = f"{any_bucket.uri}/run/gone"
    assert fault_of(lambda: store.put(gone, b"3", replaces=second)).kind in (
        FailureKind.OBJECT_CHANGED,
        FailureKind.OBJECT_MISSING,
    )
    assert store.stored(uri)[:2] == (b"2", second)
    proxy.plan("PUT", "lost answer")
    fault = fault_of(lambda: store.put(uri, b"4", replaces=second))
    assert isinstance(fault, Conflict), "it was written, and the next attempt finds that"
    proxy.plan("PUT", "internal error")
    with storage.open_output(f"{any_bucket.uri}/run/big") as file:
        file.write(b"x" * 100_000)
    store.copy(f"{any_bucket.uri}/run/big", f"{any_bucket.uri}/run/sub/copy")
    assert storage.list_names(f"{any_bucket.uri}/run") == ["a", "big"]
    assert store.stat(f"{any_bucket.uri}/run/sub/copy").bytes == 100_000
    for _ in range(2):
        storage.delete(uri)
    assert not storage.exists(uri)
    with pytest.raises(OutputUnwritable, match="no-such-bucket-1"):
        storage.write_bytes(f"{any_bucket.scheme}://no-such-bucket-1/a", b"x")


@on_clouds
def test_a_path_of_a_run_has_the_methods_of_pathlib(any_bucket: AnyBucket) -> None:
    folder = BucketPath(f"{any_bucket.uri}/run", any_bucket.settings)
    (folder / "shards" / "b.parquet").write_bytes(b"22")
    (folder / "shards" / "a.parquet").write_text("1")
    (folder / "run.json").write_text("{}")
    assert [path.name for path in (folder / "shards").glob("*.parquet")] == [
        "a.parquet",
        "b.parquet",
    ]
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    assert [path.name for path in folder.walk_files()] == ["run.json", "a.parquet", "b.parquet"]
    assert (folder / "shards").is_dir()
    assert not (folder / "shards").is_file()
    assert not (folder / "none").exists()
    with (folder / "shards" / "b.parquet").open() as file:
        assert file.read() == b"22"
    with pytest.raises(FileNotFoundError):
        (folder / "none").read_bytes()
    (folder / "run.json").unlink()
    assert not (folder / "run.json").exists()


@pytest.mark.parametrize("any_bucket", ["gs"], indirect=True)
def test_google_gives_new_tokens_for_those_that_were_revoked(
    any_bucket: AnyBucket, gcs_server: GcsServer
) -> None:
    uri = any_bucket.put("a", b"12345")
    storage = Storage(any_bucket.settings)
    assert storage.read(uri, max_bytes=9) == b"12345"
    gcs_server.revoked.add(f"token-{gcs_server.tokens}")
    assert storage.read(uri, max_bytes=9) == b"12345"
    gcs_server.revoked.add(f"token-{gcs_server.tokens}")
    gcs_server.gives_tokens = False
    try:
        assert isinstance(fault_of(lambda: storage.read(uri, max_bytes=9)), CredentialsRefused)
    finally:
        gcs_server.gives_tokens = True
    assert storage.read(uri, max_bytes=9) == b"12345"


@pytest.mark.parametrize("any_bucket", ["gs"], indirect=True)
def test_another_clouds_identity_is_exchanged_for_a_token(
    any_bucket: AnyBucket, gcs_server: GcsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Workload identity federation: no key, only the token file that the other cloud renews."""
    uri = any_bucket.put("a", b"12345")
    (tmp_path / "token").write_text("of another cloud")
    pool = "projects/1/locations/global/workloadIdentityPools/nights/providers/eks"
    account = {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{pool}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": gcs_server.exchange,
        "credential_source": {"file": str(tmp_path / "token")},
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "nights")
    gcs_server.gives_tokens = False  # the metadata server has none
    try:
        assert Storage(any_bucket.settings).read(uri, max_bytes=9) == b"12345"
    finally:
        gcs_server.gives_tokens = True


@on_clouds
def test_anonymous_readers_need_no_credentials(
    any_bucket: AnyBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = any_bucket.put("a", b"12345")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm9uZQ==")
    refused = fault_of(lambda: Storage(any_bucket.settings).read(uri, max_bytes=9))
    assert isinstance(refused, CredentialsRefused)
    if any_bucket.scheme == "gs":  # a container of Azurite is private
        anonymous = any_bucket.settings.model_copy(update={"anonymous": True})
        assert Storage(anonymous).read(uri, max_bytes=9) == b"12345"


@pytest.mark.parametrize(
    ("endpoint", "account"),
    [
        ("https://nights.blob.core.windows.net", "nights"),
        ("https://nights.blob.core.chinacloudapi.cn/", "nights"),
        ("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1"),
        ("https://pages.example.org", ""),
    ],
)
def test_the_account_is_part_of_the_address(endpoint: str, account: str) -> None:
    assert account_of(endpoint) == account


def test_a_wrong_azure_setting_is_a_matter_of_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    read = Storage(StorageSettings()).read
    assert "Account must be specified" in fault_of(lambda: read("az://c/a", max_bytes=9)).message
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "nights")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "not base64")
    fault = fault_of(lambda: Storage(StorageSettings()).read("az://c/a", max_bytes=9))
    assert isinstance(fault, CredentialsRefused)
    assert "not base64" not in fault.message


@pytest.mark.parametrize("any_bucket", ["az"], indirect=True)
def test_a_large_file_is_sent_in_parts(any_bucket: AnyBucket, tmp_path: Path) -> None:
    storage, uri = Storage(any_bucket.settings), f"{any_bucket.uri}/large"
    with storage.open_output(uri) as file:
        file.truncate(33 * MB)
    assert storage.stat(uri).bytes == 33 * MB
    assert storage.read_head(uri, 5) == b"\0" * 5
