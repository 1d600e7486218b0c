"""Reading and writing objects: local, S3, archive members; names of faults."""

from __future__ import annotations

import errno
import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from doubles.stumbling_s3 import stumbling_s3

from actors.failures import FailureKind, ItemFailure
from pipelines.errors import OutputUnwritable
from pipelines.storage.client import Storage, StorageSettings
from pipelines.storage.local import no_answer
from pipelines.storage.objects import local_path, local_uri, split_member

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]

MB = 1 << 20


def failure_of(call: Callable[[], object]) -> ItemFailure:
    with pytest.raises(ItemFailure) as caught:
        call()
    return caught.value


def kind_of(call: Callable[[], object]) -> FailureKind:
    return failure_of(call).kind


@pytest.mark.parametrize(
    "name", [b"plain.pdf", b"a #1 100%25 !?.pdf", b"new\nline", "naïve 文書".encode(), b"M\xfcller"]
)
def test_any_file_name_is_read_back_by_its_uri(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(name)
    uri = local_uri(path)
    uri.encode()  # fits into an Arrow string
    assert local_path(uri) == path
    assert Storage().read(uri, max_bytes=MB) == name


def test_local_faults_have_names(tmp_path: Path) -> None:
    storage = Storage()
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_bytes(b"x" * 1000)
    os.mkfifo(tmp_path / "pipe")
    expected = {
        "gone": FailureKind.OBJECT_MISSING,
        "large/below": FailureKind.OBJECT_MISSING,
        "nul\0": FailureKind.OBJECT_MISSING,
        "empty": FailureKind.EMPTY_FILE,
        "large": FailureKind.TOO_MANY_BYTES,
        "": FailureKind.UNSUPPORTED_KIND,
        "pipe": FailureKind.UNSUPPORTED_KIND,
    }
    found = {
        name: kind_of(lambda name=name: storage.read(f"{tmp_path}/{name}", max_bytes=999))
        for name in expected
    }
    assert found == expected


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "ENOTCONN", "EHOSTDOWN", "ETIMEDOUT"])
def test_a_mount_that_does_not_answer_is_told_from_a_broken_file(name: str) -> None:
    assert no_answer(OSError(getattr(errno, name), "from a network file system"))
    assert not no_answer(FileNotFoundError(errno.ENOENT, "gone"))
    assert not no_answer(gzip.BadGzipFile("not a gzip file"))


def test_a_local_file_that_changed_is_not_read(tmp_path: Path) -> None:
    storage, path = Storage(), tmp_path / "a"
    path.write_bytes(b"one")
    entry = storage.stat(str(path))
    assert storage.read(entry.uri, max_bytes=MB, etag=entry.etag) == b"one"
    path.write_bytes(b"two")
    os.utime(path, ns=(0, 1))
    assert kind_of(lambda: storage.read(entry.uri, max_bytes=MB, etag=entry.etag)) == (
        FailureKind.OBJECT_CHANGED
    )
    path.unlink()
    assert kind_of(lambda: storage.read(entry.uri, max_bytes=MB, etag=entry.etag)) == (
        FailureKind.OBJECT_MISSING
    )


AS_NOBODY = """
import os, sys
from actors.failures import ItemFailure
from pipelines.errors import NightjarError
from pipelines.storage.client import Storage
storage = Storage()
os.setgid(65534); os.setuid(65534)
try:
    {code}
except (ItemFailure, NightjarError) as error:
    print(type(error).__name__, getattr(error, "kind", ""), error)
"""


def as_nobody(code: str, *arguments: str) -> str:
    """Output of `code` run without root's rights."""
    if os.getuid() != 0:
        pytest.skip("only root can become nobody; as another user, modes bind this test itself")
    command = [sys.executable, "-c", AS_NOBODY.format(code=code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A folder that everybody may write to; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_no_permission_has_a_name(open_tmp: Path) -> None:
    secret = open_tmp / "secret.pdf"
    secret.write_bytes(b"%PDF-")
    secret.chmod(0)
    said = as_nobody("storage.read(sys.argv[1], max_bytes=99)", str(secret))
    assert said.startswith("ItemFailure PERMISSION_DENIED")
    assert str(secret) in said


def test_an_output_without_permission_says_what_to_do(open_tmp: Path) -> None:
    said = as_nobody("storage.write_bytes(sys.argv[1], b'x')", str(open_tmp / "out"))
    assert said.startswith("OutputUnwritable")
    assert "Permission denied" in said


def test_a_write_is_whole_or_absent(tmp_path: Path) -> None:
    storage, target = Storage(), tmp_path / "new" / "a.bin"
    storage.write_bytes(str(target), b"first")

    def broken_write() -> None:
        with storage.open_output(str(target)) as file:
            file.write(b"sec")
            raise KeyError("the writer fails")

    with pytest.raises(KeyError):
        broken_write()
    assert target.read_bytes() == b"first"
    assert storage.list_names(str(target.parent)) == ["a.bin"]
    assert storage.exists(str(target))
    storage.delete(str(target))
    storage.delete(str(target))
    assert not storage.exists(str(target))
    assert storage.list_names(str(tmp_path / "nowhere")) == []


def test_a_full_disk_stops_with_a_remedy(tmp_path: Path) -> None:
    """/dev/full refuses every write with ENOSPC, as a full disk does."""

    def write() -> None:
        with Storage().open_output(str(tmp_path / "a")), Path("/dev/full").open("wb") as full:
            full.write(b"x")

    with pytest.raises(OutputUnwritable, match=os.strerror(errno.ENOSPC)) as caught:
        write()
    assert "free space" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_unwritable(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(OutputUnwritable, match=r"run/part"):
        Storage().write_bytes(f"{tmp_path}/run/part", b"x")


def test_s3_objects_of_any_name(bucket: Bucket) -> None:
    storage = Storage(bucket.settings)
    for key in ("a b/c#1 100%25+&?!.pdf", "ü/文書.pdf", "a//b", "a/../b"):
        uri = bucket.put(key, key.encode())
        entry = storage.stat(uri)
        assert entry.bytes == len(key.encode())
        assert storage.read(uri, max_bytes=MB, etag=entry.etag) == key.encode()
        assert storage.read_head(uri, 3) == key.encode()[:3]
        assert entry in list(storage.bucket(uri).list(f"s3://{bucket.name}/"))


def test_s3_faults_have_names(bucket: Bucket) -> None:
    storage = Storage(bucket.settings)
    uri = bucket.put("a", b"12345")
    etag = storage.stat(uri).etag
    bucket.put("empty", b"")
    read = storage.read
    assert kind_of(lambda: read(uri + "x", max_bytes=9)) == FailureKind.OBJECT_MISSING
    assert kind_of(lambda: read("s3://no-such-bucket-1/a", max_bytes=9)) == (
        FailureKind.OBJECT_MISSING
    )
    assert kind_of(lambda: read(uri, max_bytes=4)) == FailureKind.TOO_MANY_BYTES
    empty = f"s3://{bucket.name}/empty"
    assert kind_of(lambda: read(empty, max_bytes=9)) == FailureKind.EMPTY_FILE
    assert kind_of(lambda: storage.read_head(empty, 9)) == FailureKind.EMPTY_FILE
    bucket.put("a", b"other")
    changed = failure_of(lambda: read(uri, max_bytes=9, etag=etag))
    assert changed.kind == FailureKind.OBJECT_CHANGED
    assert etag in changed.message


def test_no_credentials_is_no_permission(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = bucket.put("a", b"12345")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    denied = failure_of(lambda: Storage(bucket.settings).read(uri, max_bytes=9))
    assert denied.kind == FailureKind.PERMISSION_DENIED
    assert "credentials" in denied.message
    bucket.client.put_object_acl(Bucket=bucket.name, Key="a", ACL="public-read")
    anonymous = bucket.settings.model_copy(update={"anonymous": True})
    assert Storage(anonymous).read(uri, max_bytes=9) == b"12345"


def test_an_unreachable_endpoint_is_named(aws_credentials: None, dead_endpoint: str) -> None:
    settings = StorageSettings(endpoint_url=dead_endpoint, max_attempts=2, addressing="path")
    storage = Storage(settings)
    fault = failure_of(lambda: storage.read("s3://bucket/a", max_bytes=9))
    assert fault.kind == FailureKind.STORAGE_ERROR
    assert dead_endpoint in fault.message


@pytest.mark.parametrize("stumble", ["slow down", "cut", "silence"])
def test_a_stumbling_store_is_asked_again(aws_credentials: None, stumble: str) -> None:
    body = os.urandom(300_000)
    with stumbling_s3(body, stumble, stumble) as server:
        settings = StorageSettings(
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            addressing="path",
            read_timeout_s=0.3,
            max_attempts=3,
        )
        assert Storage(settings).read("s3://bucket/a", max_bytes=MB, etag="v1") == body
        assert server.requests == 3


def test_retries_end(aws_credentials: None) -> None:
    with stumbling_s3(b"x", *["slow down"] * 9) as server:
        settings = StorageSettings(
            endpoint_url=f"http://127.0.0.1:{server.server_port}", addressing="path", max_attempts=2
        )
        fault = failure_of(lambda: Storage(settings).read("s3://bucket/a", max_bytes=9))
        assert fault.kind == FailureKind.STORAGE_ERROR
        assert "SlowDown" in fault.message
        assert server.requests == 2


def test_s3_output(bucket: Bucket) -> None:
    storage, folder = Storage(bucket.settings), f"s3://{bucket.name}/run"
    storage.write_bytes(f"{folder}/b", b"2")
    with storage.open_output(f"{folder}/a") as file:
        file.write(b"1")
    storage.write_bytes(f"{folder}/sub/c", b"3")
    assert storage.list_names(folder) == ["a", "b"]
    storage.delete(f"{folder}/a")
    assert not storage.exists(f"{folder}/a")
    assert storage.read(f"{folder}/b", max_bytes=9) == b"2"
    with pytest.raises(OutputUnwritable, match="no-such-bucket-1"):
        storage.write_bytes("s3://no-such-bucket-1/a", b"x")


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, name.encode() * 100_000)
    return buffer.getvalue()


def tgz_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode()) * 100_000
            archive.addfile(info, io.BytesIO(name.encode() * 100_000))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("suffix", "packed"), [("zip", zip_of), ("tar.gz", tgz_of), ("TGZ", tgz_of)]
)
@pytest.mark.parametrize("where", ["local", "s3"])
def test_members_of_archives(
    tmp_path: Path,
    bucket: Bucket,
    suffix: str,
    packed: Callable[..., bytes],
    where: str,
) -> None:
    data = packed("a/1 #!.pdf", "../../2.pdf", "!/3.pdf")
    local = tmp_path / f"x.{suffix}"
    local.write_bytes(data)
    uri = bucket.put(f"x.{suffix}", data) if where == "s3" else str(local)
    storage = Storage(bucket.settings)
    etag = storage.stat(uri).etag
    for name in ("!/3.pdf", "a/1 #!.pdf", "../../2.pdf"):
        member = f"{uri}!/{name}"
        assert split_member(member) == (uri, name)
        assert storage.read(member, max_bytes=2 * MB, etag=etag) == name.encode() * 100_000
        assert storage.read_head(member, 4) == name.encode()[:4]
        assert storage.stat(member) == (member, etag, len(name) * 100_000)
    assert kind_of(lambda: storage.read(f"{uri}!/4", max_bytes=9)) == FailureKind.OBJECT_MISSING
    assert kind_of(lambda: storage.read(f"{uri}!/a/1 #!.pdf", max_bytes=9)) == (
        FailureKind.TOO_MANY_BYTES
    )
    if where == "s3":
        bucket.put(f"x.{suffix}", packed("other"))
        fresh = Storage(bucket.settings)
        changed = failure_of(lambda: fresh.read(f"{uri}!/!/3.pdf", max_bytes=MB, etag=etag))
        assert changed.kind == FailureKind.OBJECT_CHANGED
    assert sorted(path.name for path in tmp_path.iterdir()) == [local.name]  # nothing unpacked


def test_a_zip_in_a_bucket_takes_no_disk(bucket: Bucket) -> None:
    settings = bucket.settings.model_copy(update={"max_archive_bytes": 100})
    storage = Storage(settings)
    uri = bucket.put("x.zip", zip_of("a"))
    assert storage.read(f"{uri}!/a", max_bytes=MB) == b"a" * 100_000
    uri = bucket.put("x.tar.gz", tgz_of("a"))
    fault = failure_of(lambda: storage.read(f"{uri}!/a", max_bytes=MB))
    assert fault.kind == FailureKind.TOO_MANY_BYTES


def test_an_archive_is_opened_once_for_all_its_members(tmp_path: Path) -> None:
    """300 reads from two tar.gz of 50 MB in turn; unpacking one for each would read 7.5 GB."""
    page = os.urandom(500_000)
    for name in ("a", "b"):
        with tarfile.open(tmp_path / f"{name}.tgz", "w:gz", compresslevel=0) as archive:
            for number in range(100):
                info = tarfile.TarInfo(f"{number}.pdf")
                info.size = len(page)
                archive.addfile(info, io.BytesIO(page))
    storage = Storage()
    etags = {name: storage.stat(f"{tmp_path}/{name}.tgz").etag for name in ("a", "b")}
    before = psutil.Process().io_counters().read_chars
    for number in range(300):
        name = "ab"[number % 2]
        uri = f"{tmp_path}/{name}.tgz!/{number % 100}.pdf"
        assert storage.read(uri, max_bytes=MB, etag=etags[name]) == page
    assert psutil.Process().io_counters().read_chars - before < 500e6


def test_a_folder_that_looks_like_an_archive_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "x.zip!" / "in"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"in the folder")
    (folder / "y.zip").write_bytes(zip_of("b"))
    (tmp_path / "x.zip").write_bytes(zip_of("in/a.png"))
    uri = local_uri(os.fsencode(folder / "a.png"))
    assert uri == f"file://{tmp_path}/x.zip%21/in/a.png"
    storage = Storage()
    assert storage.read(uri, max_bytes=99, etag=storage.stat(uri).etag) == b"in the folder"
    assert storage.read_head(uri, 2) == b"in"
    assert storage.read(f"{tmp_path}/x.zip!/in/a.png", max_bytes=MB)[:8] == b"in/a.png"
    nested = local_uri(os.fsencode(folder / "y.zip")) + "!/b"
    assert storage.read(nested, max_bytes=MB)[:2] == b"bb"
    assert local_uri(b"/d/a!/b.zip!x/c.png") == "/d/a!/b.zip!x/c.png", "no archive before `!/`"


def test_a_key_that_looks_like_a_member_is_a_key(bucket: Bucket) -> None:
    storage = Storage(bucket.settings)
    uri = bucket.put("x.zip!/in/a.png", b"an object")
    etag = storage.stat(uri).etag
    assert storage.stat(uri).bytes == 9
    assert storage.read(uri, max_bytes=99, etag=etag) == b"an object"
    assert storage.read_head(uri, 2) == b"an"
    archive = bucket.put("x.zip", zip_of("other"))
    fresh = Storage(bucket.settings)
    assert fresh.read(f"{archive}!/other", max_bytes=MB)[:5] == b"other"
    assert fresh.read(uri, max_bytes=99, etag=etag) == b"an object", "beside an archive x.zip"
    missing = failure_of(lambda: fresh.read(f"{archive}!/none", max_bytes=9))
    assert missing.kind == FailureKind.OBJECT_MISSING
    assert "has no member 'none'" in missing.message
