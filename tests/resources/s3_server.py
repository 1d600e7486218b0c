"""Fixtures: a real S3 server (moto's, its own process on a free loopback port), buckets in it.

A test module gets them by ``pytest_plugins = ["s3_server"]``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from doubles.troubled_s3 import TroubledS3, troubled_s3

from pipelines.storage.client import StorageSettings


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def dead_endpoint() -> str:
    """URL of a port that nobody listens on."""
    return f"http://127.0.0.1:{free_port()}"


@contextlib.contextmanager
def serving(
    command: Sequence[str], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A server process that listens on the loopback `port`. `environment`: None: ours."""
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            assert server.poll() is None, f"{command[0]} did not start"
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Endpoint URL of an S3 server that takes any credentials."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # 50: a page of a listing
    with serving(command, port, os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": "50"}):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def trouble(s3_server: str) -> Iterator[TroubledS3]:
    """The server behind a proxy that gets in the way as it is told."""
    with troubled_s3(s3_server) as server:
        yield server


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials where boto looks for them first."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@dataclass
class Bucket:
    """A bucket of one test. `settings` reach it."""

    name: str
    client: Any
    settings: StorageSettings

    def put(self, key: str, data: bytes) -> str:
        """Store an object; returns its URI."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)
        return f"s3://{self.name}/{key}"


@pytest.fixture
def bucket(s3_server: str, aws_credentials: None) -> Bucket:
    """A fresh bucket."""
    name = f"scans-{uuid.uuid4().hex[:12]}"
    config = Config(s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=s3_server, config=config)
    client.create_bucket(Bucket=name)
    settings = StorageSettings(endpoint_url=s3_server, addressing="path", max_attempts=2)
    return Bucket(name, client, settings)
