"""A Ray head of our own on loopback, with its job server and its metrics endpoint."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
#: Ray gives up on its own raylet after 30 s, which a busy machine with two cores can exceed.
_STARTS = 3


@dataclass(frozen=True)
class RayHead:
    """`jobs`: its job server; `gcs`: for `ray start --address`; `metrics`: Prometheus text."""

    jobs: str
    gcs: str
    metrics: str
    folder: Path

    def metric_lines(self, needle: str = "nightjar") -> list[str]:
        with urllib.request.urlopen(self.metrics, timeout=10) as reply:
            return [line for line in reply.read().decode().splitlines() if needle in line]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in held]


@contextmanager
def ray_head(env: Mapping[str, str] | None = None) -> Iterator[RayHead]:
    """Two CPUs, metrics once a second, no token unless `env` says so. Ends what it has started."""
    with ExitStack() as stack:
        for _ in range(_STARTS):
            folder = Path(tempfile.mkdtemp(prefix="njh", dir="/tmp"))  # sockets: 107 characters
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            process, head = _start(folder, env or {})
            stack.callback(end_tree, process)
            if _is_up(head, process):
                yield head
                return
            end_tree(process)
        raise RuntimeError((folder / "start.log").read_text()[-3000:])


def _start(folder: Path, env: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], RayHead]:
    names = ("port", "dashboard-port", "metrics-export-port", "dashboard-agent-listen-port")
    ports = dict(zip((*names, "ray-client-server-port"), free_ports(5), strict=True))
    argv = [BIN / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    argv += [f"--{name}={port}" for name, port in ports.items()]
    argv += ["--dashboard-host=127.0.0.1", "--num-cpus=2", f"--object-store-memory={120 * 2**20}"]
    argv += [f"--temp-dir={folder}", "--disable-usage-stats", "--include-log-monitor=false"]
    settings = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on loopback: engine/cluster.py
        "RAY_metrics_report_interval_ms": "1000",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with (folder / "start.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env=kept | settings | dict(env), stdout=log, stderr=log, cwd="/"
        )
    metrics = f"http://127.0.0.1:{ports['metrics-export-port']}/metrics"
    jobs = f"http://127.0.0.1:{ports['dashboard-port']}"
    return process, RayHead(jobs, f"127.0.0.1:{ports['port']}", metrics, folder)


def _is_up(head: RayHead, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.3)
        if "Ray runtime started" not in (head.folder / "start.log").read_text():
            continue
        try:
            urllib.request.urlopen(f"{head.jobs}/api/version", timeout=5).close()
            return True
        except urllib.error.HTTPError:
            return True  # it asks for a token
        except OSError:
            pass
    return False


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all below it; SIGTERM alone took `ray start --block` over 30 s."""
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        for one in [top, *top.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait(timeout=30)
