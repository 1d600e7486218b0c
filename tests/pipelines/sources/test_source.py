"""Listing a source: folders, globs, buckets, lists of URIs; and its errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pydantic import ValidationError

from pipelines.config_files import validated
from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.sources.listing import Listed, Source, SourceConfig, reaches
from pipelines.storage.client import Storage, StorageSettings

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]


def listed(path: Path | str, settings: StorageSettings | None = None, **config: Any) -> Source:
    return Source(SourceConfig(path=str(path), **config), Storage(settings))


def names(path: Path | str, settings: StorageSettings | None = None, **config: Any) -> list[str]:
    return [entry.name for entry in listed(path, settings, **config)]


def error_of(path: Path | str, settings: StorageSettings | None = None) -> SourceUnavailable:
    with pytest.raises(SourceUnavailable) as caught:
        names(path, settings)
    return caught.value


def fill(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


TREE = ("b.pdf", "a/2.jpg", "a/10.PDF", "a/x/deep.pdf", "c [1]/d.pdf", ".hidden/e.pdf", "a/.f.pdf")


def test_a_folder_is_walked_in_order(tmp_path: Path) -> None:
    source = listed(fill(tmp_path, *TREE))
    entries = list(source)
    assert [e.name for e in entries] == [
        "a/10.PDF", "a/2.jpg", "a/x/deep.pdf", "b.pdf", "c [1]/d.pdf"
    ]  # fmt: skip
    assert source.skipped == {"hidden": 2}
    status = (tmp_path / "b.pdf").stat()
    assert entries[3] == Listed(
        f"{tmp_path}/b.pdf", f"{status.st_size}-{status.st_mtime_ns}", 5, "b.pdf"
    )
    assert names(tmp_path, recursive=False) == ["b.pdf"]
    assert "a/.f.pdf" in names(tmp_path, hidden=True)
    assert names(f"file://{tmp_path}") == [e.name for e in entries]
    assert names(tmp_path / "b.pdf") == ["b.pdf"]


def test_a_relative_path_gives_absolute_uris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "in/a.pdf")
    monkeypatch.chdir(tmp_path)
    assert [entry.uri for entry in listed("in")] == [f"{tmp_path}/in/a.pdf"]


def test_globs(tmp_path: Path) -> None:
    fill(tmp_path, *TREE)
    assert names(tmp_path / "*.pdf") == ["b.pdf"]
    assert names(tmp_path / "a/*") == ["10.PDF", "2.jpg"]
    assert names(tmp_path / "**/*.pdf") == ["a/x/deep.pdf", "b.pdf", "c [1]/d.pdf"]
    assert names(tmp_path / "*/[0-9]*.jpg") == ["a/2.jpg"]
    assert names(tmp_path / "c [1]") == ["d.pdf"]  # what exists is no glob
    assert names(tmp_path / "*.gif") == []


def test_include_and_exclude(tmp_path: Path) -> None:
    def taken(**config: Any) -> tuple[list[str], dict[str, int]]:
        source = listed(tmp_path, **config)
        return [e.name for e in source if source.takes(e.name)], dict(source.skipped)

    fill(tmp_path, "b.pdf", "a/2.jpg", "a/10.PDF", "a/x/deep.pdf")
    assert taken(include=["*.pdf"]) == (["a/10.PDF", "a/x/deep.pdf", "b.pdf"], {"not included": 1})
    assert taken(exclude=["a/**"]) == (["b.pdf"], {"excluded": 3})
    assert taken(include=["a/*"], exclude=["*.jpg"]) == (
        ["a/10.PDF"], {"excluded": 1, "not included": 2}
    )  # fmt: skip
    source = listed(tmp_path, include=["*.pdf"], exclude=["lost+found"])
    assert source.takes("locked/")  # nobody knows what is in it
    assert not source.takes("lost+found/")
    assert not listed(tmp_path, exclude=["lost+found/**"]).takes("lost+found/")
    with pytest.raises(ValidationError, match=r"\*\*"):
        SourceConfig(path="x", include=("a**b",))


def test_odd_names_survive(tmp_path: Path) -> None:
    odd = [b"a #1 100%25!.pdf", b"new\nline.pdf", "文書.pdf".encode(), b"M\xfcller.pdf", b" "]
    for name in odd:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    source, storage = listed(tmp_path), Storage()
    found = [storage.read(e.uri, max_bytes=99, etag=e.etag) for e in source]
    assert found == sorted(odd)


def test_a_folder_named_like_an_open_archive_is_listed_and_read(tmp_path: Path) -> None:
    fill(tmp_path, "scans/x.zip!/in/a.pdf", "scans/x.zip!/b.pdf")
    source, storage = listed(tmp_path / "scans"), Storage()
    read = [storage.read(e.uri, max_bytes=99, etag=e.etag) for e in source]
    assert read == [b"scans/x.zip!/b.pdf", b"scans/x.zip!/in/a.pdf"]
    assert names(tmp_path / "scans") == ["x.zip!/b.pdf", "x.zip!/in/a.pdf"]
    rows = [{"uri": "scans/x.zip!/b.pdf"}, {"uri": f"file://{tmp_path}/scans/x.zip%21/in/a.pdf"},
            {"uri": "scans/x.zip!/only/in/an/archive.pdf"}]  # fmt: skip
    entries = list(listed(write_list(tmp_path / "list.csv", rows)))
    assert [storage.read(e.uri, max_bytes=99) for e in entries[:2]] == read
    assert entries[2].uri == f"{tmp_path}/scans/x.zip!/only/in/an/archive.pdf"
    evil = write_list(tmp_path / "scans/evil.csv", [{"uri": "x.zip!/../../list.csv"}])
    assert "outside the folder of the list" in error_of(evil).message


def test_links(tmp_path: Path) -> None:
    fill(tmp_path, "in/a/1.pdf", "out/2.pdf")
    (tmp_path / "in/a/up").symlink_to(tmp_path / "in")  # a loop
    (tmp_path / "in/self").symlink_to("self")
    (tmp_path / "in/dangling.pdf").symlink_to("nowhere")
    (tmp_path / "in/out").symlink_to(tmp_path / "out")
    (tmp_path / "in/out2").symlink_to(tmp_path / "out")
    (tmp_path / "in/link.pdf").symlink_to(tmp_path / "out/2.pdf")
    source = listed(tmp_path / "in")
    assert {e.name: e.etag == "" for e in source} == {
        "a/1.pdf": False,
        "out/2.pdf": False,
        "link.pdf": False,
        "dangling.pdf": True,  # will fail by name when it is read
        "self": True,
    }
    assert source.skipped == {"folder linked twice": 2}
    source = listed(tmp_path / "in", StorageSettings(follow_links=False))
    assert [e.name for e in source] == ["a/1.pdf"]
    assert source.skipped == {"link": 6}


def test_pipes_are_left_out(tmp_path: Path) -> None:
    os.mkfifo(fill(tmp_path, "a.pdf") / "pipe")
    source = listed(tmp_path)
    assert [e.name for e in source] == ["a.pdf"]
    assert source.skipped == {"device or pipe": 1}


def test_a_missing_folder_stops_with_a_remedy(tmp_path: Path) -> None:
    error = error_of(tmp_path / "no")
    assert str(tmp_path / "no") in error.message
    assert "mounted" in error.remedy
    assert "no/such" in error_of(tmp_path / "no/such/*.pdf").message
    assert "list.csv" in error_of(tmp_path / "list.csv").message


def peak_of_walking(folder: Path, files: int) -> int:
    """Bytes of Python objects at the worst moment of walking a new folder of so many files."""
    folder.mkdir()
    for number in range(files):
        os.mknod(folder / f"scan with a name of usual length {number:05}.jpg")
    last, count = "", 0
    tracemalloc.start()
    try:
        for entry in listed(folder):
            assert entry.name > last
            last, count = entry.name, count + 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == files
    return peak


def test_a_large_folder_is_not_held_in_memory(tmp_path: Path) -> None:
    """Both are beyond two chunks of names (storage.walk), of which two may be in hand at once.

    In a process of its own: what earlier tests left running here allocates too.
    """
    script = (
        "import sys; from pathlib import Path; from test_source import peak_of_walking\n"
        "for n in (25_000, 45_000): print(peak_of_walking(Path(sys.argv[1]) / str(n), n))"
    )
    here = Path(__file__).parent
    tests = here.parents[1]
    paths = [tests.parent, here, tests, tests / "resources"]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    small, large = map(int, done.stdout.split())
    assert large < 1.2 * small < 8_000_000


def test_a_bucket(bucket: Bucket) -> None:
    for key in ("in/", "in/b.pdf", "in/a/1 #.jpg", "in/.DS_Store", "in/a/x/2.pdf", "in-old/3.pdf"):
        bucket.put(key, b"" if key == "in/" else key.encode())
    root = f"s3://{bucket.name}"
    source = listed(f"{root}/in", bucket.settings)
    entries = list(source)
    assert [e.name for e in entries] == ["a/1 #.jpg", "a/x/2.pdf", "b.pdf"]
    assert source.skipped == {"hidden": 1}
    assert entries[2].uri == f"{root}/in/b.pdf"
    assert entries[2].bytes == len("in/b.pdf")
    storage = Storage(bucket.settings)
    assert storage.read(entries[0].uri, max_bytes=99, etag=entries[0].etag) == b"in/a/1 #.jpg"

    def found(path: str, **config: Any) -> list[str]:
        return names(f"{root}/{path}", bucket.settings, **config)

    assert found("in/", recursive=False) == ["b.pdf"]
    assert found("in/b.pdf") == ["b.pdf"]
    assert found("in/**/*.pdf") == ["a/x/2.pdf", "b.pdf"]
    assert found("in*/*.pdf") == ["in-old/3.pdf", "in/b.pdf"]
    assert len(found("")) == 4
    bucket.put("c [1]/d.pdf", b"d")
    assert found("c [1]/") == ["d.pdf"]


def test_a_long_listing_comes_in_pages(bucket: Bucket) -> None:
    for number in range(101):  # the fixture's server gives 50 at a time, AWS 1,000
        bucket.put(f"{number:03}", b"x")
    assert names(f"s3://{bucket.name}", bucket.settings) == [f"{n:03}" for n in range(101)]


def test_unreachable_buckets_stop_with_a_remedy(
    bucket: Bucket, dead_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    error = error_of("s3://no-such-bucket-1/scans", bucket.settings)
    assert "NoSuchBucket" in error.message
    assert "no-such-bucket-1" in error.message
    settings = bucket.settings.model_copy(update={"endpoint_url": dead_endpoint})
    error = error_of("s3://scans/in", settings)
    assert dead_endpoint in error.message
    assert "endpoint_url" in error.remedy
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    error = error_of(f"s3://{bucket.name}/in", bucket.settings)
    assert "redentials" in error.message
    assert "anonymous" in error.remedy


ROWS = [
    {"uri": "a b.pdf", "page": 2},
    {"uri": "a b.pdf", "page": 3},
    {"uri": "/abs/c,d.pdf", "page": None},
    {"uri": "s3://bucket/key #1.pdf", "page": None},
    {"uri": "../up/x.zip!/in/../e.pdf", "page": 1},
]


def write_list(path: Path, rows: list[dict[str, Any]]) -> Path:
    frame = pd.DataFrame(rows)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_list(tmp_path: Path, suffix: str) -> None:
    path = write_list(tmp_path / f"list.{suffix}", ROWS)
    assert [(e.uri, e.pages) for e in listed(path, local_roots=["/abs", str(tmp_path.parent)])] == [
        (f"{tmp_path}/a b.pdf", (2, 3)),
        ("/abs/c,d.pdf", ()),
        ("s3://bucket/key #1.pdf", ()),
        (f"{tmp_path.parent}/up/x.zip!/in/../e.pdf", (1,)),
    ]
    assert {e.etag for e in listed(path, local_roots=["/"])} == {""}


def test_a_list_of_uris_alone(tmp_path: Path) -> None:
    path = write_list(tmp_path / "list.parquet", [{"uri": "a", "note": 1}, {"uri": "file:///b%FC"}])
    assert [(e.uri, e.pages) for e in listed(path, local_roots=["/"])] == [
        (f"{tmp_path}/a", ()), ("file:///b%FC", ())
    ]  # fmt: skip


def test_a_list_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    rows = [{"uri": "in/a.pdf"}, {"uri": "./b.pdf"}]
    uri = bucket.put("lists/l.csv", write_list(tmp_path / "l.csv", rows).read_bytes())
    folder = f"s3://{bucket.name}/lists"
    assert [e.uri for e in listed(uri, bucket.settings)] == [
        f"{folder}/in/a.pdf",
        f"{folder}/b.pdf",
    ]
    uri = bucket.put("lists/evil.csv", b"uri\n/etc/passwd\n")
    assert "cannot name local files" in error_of(uri, bucket.settings).message


@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://h/a.pdf",
        "gcs://b/a",
        "file://host/a",
        "s3://169.254.169.254/latest/meta-data/",
        "s3://bucket/../other/key.pdf",
        "s3://bucket/a/./key.pdf",
        "",
    ],
)
def test_a_list_cannot_send_workers_elsewhere(tmp_path: Path, uri: str) -> None:
    path = write_list(tmp_path / "l.jsonl", [{"uri": "a.pdf"}, {"uri": uri}])
    error = error_of(path)
    assert "row 2" in error.message
    assert uri in error.message


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "../secret.pdf",
        "sub/../../secret.pdf",
        "file:///{folder}/%2e%2e/secret.pdf",
        "{folder}/../secret.zip!/a.pdf",
        "{folder}-2/secret.pdf",
        "{folder}",
    ],
)
def test_a_list_names_files_of_its_own_folder_and_of_those_allowed(
    tmp_path: Path, uri: str
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    uri = uri.format(folder=folder).replace("////", "///")
    path = write_list(folder / "l.jsonl", [{"uri": "a.pdf"}, {"uri": uri}])
    error = error_of(path)
    assert "row 2" in error.message
    assert "source.local_roots" in error.remedy
    assert len(names(path, local_roots=["/"])) == 2
    inside = write_list(folder / "m.jsonl", [{"uri": f"{folder}/x/../a.pdf"}, {"uri": "b/c.pdf"}])
    assert names(inside) == [f"{folder}/a.pdf", f"{folder}/b/c.pdf"]


def test_a_list_in_a_bucket_cannot_climb_out_of_it(bucket: Bucket) -> None:
    uri = bucket.put("lists/l.csv", b"uri\n../../other-bucket/key.pdf\n")
    assert "another bucket" in error_of(uri, bucket.settings).message


def test_credentials_in_the_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        validated(StorageSettings, {"endpoint_url": "https://me:hunter2@host"}, "storage")
    assert "endpoint_url holds a user or password" in caught.value.message
    assert "hunter2" not in caught.value.message
    signed = {"endpoint_url": "https://nights.blob.core.windows.net?sig=hunter2"}
    with pytest.raises(ConfigError, match="endpoint_url has a query") as caught:
        validated(StorageSettings, signed, "storage")
    assert "hunter2" not in caught.value.message


def test_an_unknown_scheme_is_told_which_there_are() -> None:
    assert "s3://, gs://, az://" in error_of("gcs://bucket/scans").remedy


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.csv", "url\na\n", "no column `uri`"),
        ("l.csv", "uri,page\na,0\n", "row 1: page '0'"),
        ("l.csv", "uri,page\na,1\nb,x\n", "row 2: page 'x'"),
        ("l.csv", 'uri\n"a\n', "unexpected end"),
        ("l.jsonl", '{"uri": "a"}\n{"uri": \n', "row 2"),
        ("l.jsonl", '{"uri": 7}\n', "row 1: uri is empty or no text"),
        ("l.jsonl", "[1]\n", "row 1 is not a JSON object"),
        ("l.jsonl", '{"uri": "\\ud800"}\n', "row 1: 'utf-8' codec"),
        ("l.parquet", "text", "arquet"),
        ("l.csv", "uri\nM\udcfc\n", "utf-8"),
    ],
)
def test_a_broken_list_names_the_row(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    error = error_of(tmp_path / name)
    assert said in error.message
    assert name in error.message


@pytest.mark.parametrize(
    ("source", "folder", "reached"),
    [
        ("s3://b/scans", "s3://b/scans/run", True),
        ("s3://b/scans/", "s3://b/scans/run", True),
        ("s3://b", "s3://b/run", True),
        ("s3://b/", "s3://b/run", True),
        ("s3://b/sc?ns/", "s3://b/scans/run", True),
        ("s3://b/*/in", "s3://b/run", True),
        ("s3://b/scans/*.png", "s3://b/scans/run", False),
        ("s3://b/scans", "s3://b/scans-run", False),
        ("s3://b/scans", "s3://c/scans/run", False),
        ("s3://b/scans", "/b/scans/run", False),
        ("s3://b/scans", "gs://b/scans/run", False),
        ("az://b/scans/", "az://b/scans/run", True),
        ("{here}/src", "{here}/src/run", True),
        ("{here}/src/", "{here}/src/run", True),
        ("file://{here}/src", "{here}/src/run", True),
        ("{here}/[ps]rc/a/**", "{here}/src/a/x/run", True),
        ("{here}/[ps]rc/a/*.png", "{here}/src/b/run", False),
        ("{here}/src", "{here}/src-run", False),
        ("{here}/src", "s3://b/src/run", False),
    ],
)
def test_whether_a_listing_reaches_a_run_directory(
    source: str, folder: str, reached: bool, tmp_path: Path
) -> None:
    (tmp_path / "src/a").mkdir(parents=True)
    assert reaches(source.format(here=tmp_path), folder.format(here=tmp_path)) is reached


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "docs").mkdir()
    assert reaches("~/docs", tmp_path / "docs/run")
