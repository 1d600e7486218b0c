"""A real Ray cluster of two nodes on this machine: `ray start` twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from nights import named
from ray_head import free_ports

_RAY = Path(sys.executable).parent / "ray"
_START_S = 150.0


class TwoNodes:
    """`address`: for ray.address. The driver finds the head; `kill_second` takes the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        gcs, dashboard, client = free_ports(3)
        ports = [f"--port={gcs}", f"--dashboard-port={dashboard}"]
        self._nodes = [
            self._start("head", "--head", *ports, f"--ray-client-server-port={client}",
                        "--include-dashboard=false", f"--temp-dir={folder}")
        ]  # fmt: skip
        self.address = self._line_of("head", "--address='", _START_S).partition("'")[0]
        self._nodes.append(self._start("second", f"--address={self.address}"))
        self._line_of("second", "Ray runtime started", _START_S)

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        (agent,) = free_ports(1)
        argv = [_RAY, "start", "--block", "--num-cpus=1", "--disable-usage-stats", *arguments]
        argv += [f"--object-store-memory={100 * 2**20}", f"--dashboard-agent-listen-port={agent}"]
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log, cwd="/", env=dict(os.environ))

    def _line_of(self, name: str, mark: str, patience_s: float) -> str:
        """What follows `mark` in the node's output."""
        log = self._folder / f"{name}.log"
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            before, found, after = log.read_text().partition(mark)
            if found:
                return after
            time.sleep(0.2)
        raise AssertionError(before[-3000:])

    def workers(self, node: int) -> list[psutil.Process]:
        """The processes of a node: 0 the head, 1 the second."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._nodes[node].pid).children(recursive=True)
        return []

    def kill_second(self) -> bool:
        """kill -9 for all of its processes: its machine is gone. False: no model is there yet."""
        doomed = self.workers(1)
        if not named(doomed, "MapWorker"):
            return False
        for process in [*doomed, self._nodes[1]]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._nodes[1].wait()
        return True

    def stop(self) -> None:
        for node in reversed(self._nodes):
            node.send_signal(signal.SIGTERM)  # with --block it takes its own children along
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(timeout=30)
            node.kill()


@contextlib.contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """One CPU each; both end with the block."""
    folder = Path(tempfile.mkdtemp(prefix="nj2", dir="/tmp"))  # sockets allow 107 characters
    cluster = TwoNodes(folder)
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
