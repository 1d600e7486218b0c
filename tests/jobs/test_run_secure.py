"""A real run from a bucket: listening sockets, and secrets in files and logs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pyarrow.dataset as ds
import pytest
from bad_files import SAMPLES
from chat_server import Asked, Reply, chat_server, status
from conftest import nightjar_argv, write_config

from pipelines.serving.settings import is_loopback

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]

SECRETS = {
    "READER_KEY": "planted-key-7f3a9c",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-51be02",
    "AWS_SESSION_TOKEN": "planted-token-c80d44",
    "SOME_OTHER_PASSWORD": "planted-password-e61197",
}


class Night(NamedTuple):
    """What one run did: its output, where it and Ray wrote, and (process, address) of sockets."""

    output: str
    run: Path
    ray: Path
    listening: set[tuple[str, str]]
    rows: list[dict[str, object]]


def tells(asked: Asked) -> Reply:
    """A refusal of the page that quotes the key, as hosted APIs do."""
    return status(400, message=f"Incorrect API key provided: {asked.headers['Authorization']}")


@pytest.fixture
def night(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("NIGHTJAR_REPORT", "1")
    for name in ("receipt_grocer.jpg", "receipt_torn.jpg"):
        source = bucket.put(f"scans/{name}", (SAMPLES / name).read_bytes()).rpartition("/")[0]
    storage = {"endpoint_url": bucket.settings.endpoint_url, "addressing": "path"}
    with chat_server() as server:
        server.always = tells
        config = write_config(
            tmp_path,
            source,
            fetch={"storage": storage},
            routing={"floors": {"rapid_ocr": {"mean_score": 1.0}}},
            vlm={"base_url": server.base_url, "model": "reader", "api_key_env": "READER_KEY"},
            vlm_pool={"num_cpus": 0.1},
        )
        log = tmp_path / "output.txt"
        with log.open("wb") as file:
            driver = subprocess.Popen(
                nightjar_argv("run", config), cwd=tmp_path, stdout=file, stderr=file
            )
            listening = listeners(driver)
        assert driver.returncode == 0, log.read_text()
        assert server.requests, "the endpoint was asked"
    (ray,) = Path("/tmp/ray").glob(f"session_*_{driver.pid}")
    rows = ds.dataset(tmp_path / "run" / "shards").to_table().to_pylist()
    yield Night(log.read_text(), tmp_path / "run", ray, listening, rows)
    shutil.rmtree(ray, ignore_errors=True)


def listeners(driver: subprocess.Popen[bytes]) -> set[tuple[str, str]]:
    """(process, address) of whatever its processes listened on until it ended."""
    found: set[tuple[str, str]] = set()
    while True:
        try:
            driver.wait(0.3)
        except subprocess.TimeoutExpired:
            root = psutil.Process(driver.pid)
            for process in [root, *root.children(recursive=True)]:
                found |= _listening(process)
            continue
        return found


def _listening(process: psutil.Process) -> set[tuple[str, str]]:
    try:
        sockets = process.net_connections()
        listens = [s for s in sockets if s.status == psutil.CONN_LISTEN]
        return {(process.name(), s.laddr.ip.removeprefix("::ffff:")) for s in listens}
    except psutil.Error:  # it ended meanwhile
        return set()


def test_nobody_listens_beyond_loopback_and_no_secret_is_written(night: Night) -> None:
    assert {"gcs_server", "raylet"} <= {name for name, _ in night.listening}
    assert {(n, ip) for n, ip in night.listening if not is_loopback(ip)} == set()

    told = [row["vlm_failure"] for row in night.rows if row["vlm_failure"]]
    assert "Incorrect API key provided" in json.dumps(told), "the answer came back, without the key"
    files = [path for root in (night.run, night.ray) for path in _files(root)]
    assert {"run.json", "report.html", "native.log"} <= {path.name for path in files}
    assert any(path.suffix == ".parquet" for path in files)
    texts = {str(path): path.read_bytes() for path in files}
    texts |= {"output": night.output.encode(), "rows": json.dumps(night.rows, default=str).encode()}
    leaks = [
        (name, where)
        for name, s in SECRETS.items()
        for where in texts
        if s.encode() in texts[where]
    ]
    assert leaks == []


def _files(root: Path) -> list[Path]:
    return [
        Path(at) / n for at, _, names in os.walk(root) for n in names if (Path(at) / n).is_file()
    ]
