"""Joining a running cluster."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import ray
from bad_files import many_pages
from conftest import nightjar_argv, write_config
from ray._private.utils import check_version_info
from ray_head import BIN, RayHead, end_tree, ray_head

from pipelines.config import RayConfig
from pipelines.engine.joined_cluster import joined, remedy


@pytest.mark.parametrize(
    ("variable", "asked", "address"),
    [
        (None, None, None),
        ("10.0.0.1:6379", None, "10.0.0.1:6379"),
        ("10.0.0.1:6379", "auto", "auto"),
        ("http://10.0.0.1:8265", None, None),  # what `ray job` takes
    ],
)
def test_a_submitted_job_finds_its_cluster(
    monkeypatch: pytest.MonkeyPatch, variable: str | None, asked: str | None, address: str | None
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert joined(RayConfig(address=asked)).address == address


def test_another_python_has_a_remedy() -> None:
    theirs = {"ray_version": ray.__version__, "python_version": "3.9.1"}
    with pytest.raises(RuntimeError) as caught:
        check_version_info(theirs, "node 10.0.0.1:6379")
    assert "exactly the same versions of Ray and Python" in remedy(caught.value)
    assert "check ray.address" in remedy(ConnectionError("could not find any running Ray instance"))


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs mount(2)")
def test_a_run_directory_that_a_node_does_not_share_is_refused(tmp_path: Path) -> None:
    """The second node is a process whose /PATH/run is a file system of its own.

    Nodes of a real cluster listen beyond loopback, so these two have a token.
    """
    source, run = tmp_path / "scans", tmp_path / "run"
    source.mkdir()
    run.mkdir()
    many_pages(source, 4)
    token = secrets.token_hex(32)
    beyond = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    beyond["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
    with ray_head(beyond) as head:
        env = os.environ | beyond | {"PATH": f"{BIN}:{os.environ['PATH']}"}
        start = f"exec ray start --block --address={head.gcs} --num-cpus=1"
        script = f"mount -t tmpfs none {run} && {start} --object-store-memory={100 * 2**20}"
        node = subprocess.Popen(["unshare", "-m", "sh", "-c", script], env=env)
        try:
            wait_for_two_nodes(head, token)
            config = write_config(tmp_path, source, ray={"address": head.gcs})
            ended = subprocess.run(
                nightjar_argv("run", config), env=env, capture_output=True, text=True
            )
            assert ended.returncode == 6, ended.stdout + ended.stderr
            assert f"run_dir {run} is not shared with" in ended.stderr
            assert "1 of 2 checked nodes" in ended.stderr
            assert "s3://" in ended.stderr
            assert not list(run.glob(".reach-*"))
        finally:
            end_tree(node)


def wait_for_two_nodes(head: RayHead, token: str) -> None:
    asked = urllib.request.Request(
        f"{head.jobs}/api/v0/nodes", headers={"Authorization": f"Bearer {token}"}
    )
    deadline, alive = time.monotonic() + 120, 0
    while alive < 2:
        assert time.monotonic() < deadline, alive
        time.sleep(0.5)
        with urllib.request.urlopen(asked, timeout=30) as reply:
            nodes = json.load(reply)["data"]["result"]["result"]
        alive = sum(node["state"] == "ALIVE" for node in nodes)
