"""A run directory as pyarrow sees it, without Nightjar's own code; an S3 server for a night."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.fs as fs
import pyarrow.parquet as pq
from botocore.config import Config
from s3_server import free_port

from chaos.door import wait_for_port

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """URL of an S3 server of its own process."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def make_bucket(endpoint: str, name: str, files: Sequence[Path] = ()) -> None:
    """A bucket with `files` under their names."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=name)
    for path in files:
        client.put_object(Bucket=name, Key=path.name, Body=path.read_bytes())


class RunFiles:
    """The files of a run directory on a disk or in a bucket. Read by pyarrow, not by Nightjar."""

    def __init__(self, root: str, endpoint: str | None = None) -> None:
        """`root`: a path, or bucket/prefix of the S3 server at `endpoint`."""
        self.root = root
        self._files: fs.FileSystem = fs.LocalFileSystem()
        if endpoint:
            self._files = fs.S3FileSystem(
                endpoint_override=endpoint,
                access_key=KEYS["AWS_ACCESS_KEY_ID"],
                secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
                region=KEYS["AWS_DEFAULT_REGION"],
            )

    def names(self, folder: str) -> list[str]:
        """Names of the visible files in `folder` ("shards"), sorted; none if it is missing."""
        selector = fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True)
        found = [info.base_name for info in self._files.get_file_info(selector) if info.is_file]
        return sorted(name for name in found if not name.startswith("."))

    def table(self, folder: str, name: str, columns: list[str] | None = None) -> pa.Table:
        """One Parquet file."""
        with self._files.open_input_file(f"{self.root}/{folder}/{name}") as file:
            return pq.read_table(file, columns=columns)

    def record(self) -> dict[str, Any]:
        """run.json."""
        with self._files.open_input_file(f"{self.root}/run.json") as file:
            return json.loads(file.read())
