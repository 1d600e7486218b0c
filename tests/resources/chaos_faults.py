"""Faults of the chaos suite: each prepares a run, injects the fault, and is counted.

A fault says what it needs of the config (`changes`), strikes while the run is under way (`strike`,
True if it hit), lets the world recover before the next start (`recover`), and knows what the run's
own record must say of it (`told`).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import boto3
import psutil
from bad_files import many_pages
from botocore.config import Config
from nights import kill_driver, kill_everything, kill_one_worker, named

Record = Mapping[str, Any]  #: run.json, and under "codes" the exit codes of all starts


class Fault:
    """Nothing goes wrong: the night that the others are compared with."""

    name: ClassVar[str] = "none"
    #: The run goes on by itself; otherwise it may end and is started again.
    survived: ClassVar[bool] = True
    #: How often a night is struck. 0: the fault lies in the data, and strikes once by itself.
    strikes: ClassVar[int] = 0

    def __init__(self, folder: Path, pages: int) -> None:
        self.folder, self.pages = folder, pages
        self.environment: dict[str, str] = {}

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        """What surrounds the run; yields the changes of its config."""
        source = self.folder / "source"
        source.mkdir(parents=True, exist_ok=True)
        many_pages(source, self.pages)
        yield {"source": {"path": str(source)}} | self.changes()

    def changes(self) -> dict[str, Any]:
        return {}

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        """Do it now; False: there was nothing to hit yet."""
        return True

    def recover(self) -> None:
        """Before the run is started again."""

    def told(self, record: Record) -> bool:
        """Whether the run's record counts what happened."""
        return record["codes"] == [0]


def _failures(record: Record) -> dict[str, int]:
    failures: dict[str, int] = record["totals"]["failures"]
    return failures


def _deaths(record: Record) -> int:
    stages = [stage for session in record["sessions"] for stage in session["stages"].values()]
    return sum(stage["worker_deaths"] for stage in stages)


class DriverKilled(Fault):
    """A killed driver writes no record: its session is missing, its rows are in the totals."""

    name, survived, strikes = "driver, kill -9", False, 2

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        return kill_driver(driver, chance)

    def told(self, record: Record) -> bool:
        return (
            record["codes"].count(-signal.SIGKILL) == self.strikes
            and len(record["sessions"]) == len(record["codes"]) - self.strikes
        )


class EverythingKilled(DriverKilled):
    name = "every process, kill -9"

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        return kill_everything(driver, chance)


class RayletKilled(Fault):
    """Ray's own daemon, with the only node of the cluster."""

    name, survived, strikes = "raylet, kill -9", False, 1

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        raylets = [one for one in driver.children(recursive=True) if one.name() == "raylet"]
        for one in raylets:
            one.kill()
        return bool(raylets)

    def told(self, record: Record) -> bool:
        """It is named, with an exit code of ours, before Ray ends the driver."""
        return record["codes"] == [7, 0]


class ActorKilled(Fault):
    name, strikes = "one worker, kill -9", 3

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        return kill_one_worker(driver, chance)

    def told(self, record: Record) -> bool:
        """An idle worker's death costs nothing and is not counted: at most one each."""
        return record["codes"] == [0] and _deaths(record) <= self.strikes


class PoisonPage(Fault):
    """A page on which the native code of a model crashes."""

    name = "page that kills its process"

    def changes(self) -> dict[str, Any]:
        return {"reader": {"kills_process": f"page_{self.pages // 2:05d}.png"}}

    def told(self, record: Record) -> bool:
        return _failures(record) == {"ENGINE_CRASH": 1} and _deaths(record) >= 2


class HangingPage(Fault):
    """A page whose decoding never ends, in a loop that holds the GIL."""

    name = "page that hangs"

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        from bad_files import pdf_with_text

        with super().world() as changes:
            pages = ["page"] * 3
            pdf_with_text(self.folder / "source", pages, "hangs.pdf")
            self.pages += len(pages)
            fetch = {
                "renderer": "doubles.hangs_on_page_2",
                "limits": {"wall_s": 3},
                "native_text": {"enabled": False},
            }
            yield changes | {"fetch": fetch}

    def told(self, record: Record) -> bool:
        return _failures(record) == {"RENDER_TIMEOUT": 1}


class LeakingWorker(Fault):
    """A worker that keeps 40 MB of every batch, in a place that kills whoever holds 700."""

    name, limit_mb = "worker that leaks until it is killed", 700

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        self.killed = 0
        self._over = threading.Event()
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        try:
            with super().world() as changes:
                yield changes
        finally:
            self._over.set()
            watch.join()

    def changes(self) -> dict[str, Any]:
        return {"reader": {"leak_mb": 40}}

    def _watch(self) -> None:
        """Stands for the kernel's OOM killer in a container of this size."""
        mark = {"NIGHTJAR_CHAOS": str(self.folder)}
        while not self._over.wait(0.1):
            for process in named(psutil.process_iter(), "MapWorker"):
                with contextlib.suppress(psutil.Error):
                    ours = mark.items() <= process.environ().items()
                    if ours and process.memory_info().rss > self.limit_mb << 20:
                        process.kill()
                        self.killed += 1

    def told(self, record: Record) -> bool:
        return self.killed > 0 and 0 < _deaths(record) <= self.killed and not _failures(record)


class FullDisk(Fault):
    """A disk that is full from the second shard on, until somebody makes room."""

    name, survived = "disk full at the sink", False

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        self.disk = self.folder / "disk"
        self.disk.mkdir(parents=True)
        size = "size=400k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.disk)], check=True)
        try:
            self._ballast().write_bytes(os.urandom(355_000))
            with super().world() as changes:
                yield changes | {"run_dir": str(self.disk / "run")}
        finally:
            subprocess.run(["umount", "-l", str(self.disk)], check=True)

    def _ballast(self) -> Path:
        return self.disk / "ballast"

    def recover(self) -> None:
        self._ballast().unlink(missing_ok=True)

    def told(self, record: Record) -> bool:
        return record["codes"] == [6, 0]


class FallbackKilled(Fault):
    """The fallback's server dies, and is back after 4 seconds."""

    name, strikes = "fallback server, kill -9", 2
    down_s = 4.0

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        self.port = free_port()
        self._start()
        try:
            with super().world() as changes:
                yield changes
        finally:
            self.server.kill()
            self.server.wait()

    def changes(self) -> dict[str, Any]:
        patience = {"attempts": 3, "first_wait_s": 0.1, "give_up_after": 3, "pause_s": 1.0}
        where = {"base_url": f"http://127.0.0.1:{self.port}/v1", "model": "reader"}
        return {"vlm": where | patience}

    def _start(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-c", _CHAT, str(self.port)], cwd=Path(__file__).parent
        )
        wait_for_port(self.port)

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        self.server.kill()
        self.server.wait()
        time.sleep(self.down_s)
        self._start()
        return True

    def told(self, record: Record) -> bool:
        kinds = set(_failures(record))
        return record["codes"] == [0] and kinds <= {"VLM_UNREACHABLE", "VLM_TIMEOUT"}


_CHAT = """
import sys, time
from chat_server import ChatServer, said
server = ChatServer({})
server.always = said("one page")
server.down()
server.port = int(sys.argv[1])
server.up()
time.sleep(10**6)
"""


class StoreDown(Fault):
    """S3 gives no connection for 30 seconds: what is under way breaks, new ones are refused."""

    name, strikes = "S3 down", 1
    down_s = 30.0

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        self.environment = keys | {"AWS_DEFAULT_REGION": "us-east-1"}
        store = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            self.door = Door(port, pace_s=0.2)
            with super().world() as changes:
                self._fill(f"http://127.0.0.1:{port}", Path(changes["source"]["path"]))
                storage = {
                    "endpoint_url": f"http://127.0.0.1:{self.door.port}",
                    "addressing": "path",
                }
                # Slowly, one after the other: the outage has to meet documents still to come.
                fetch = {"storage": storage, "threads": 1, "read_ahead_mb": 1}
                yield changes | {"source": {"path": "s3://scans"}, "fetch": fetch}
        finally:
            store.kill()
            store.wait()

    def _fill(self, endpoint: str, source: Path) -> None:
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}),
        )
        client.create_bucket(Bucket="scans")
        for path in source.iterdir():
            client.put_object(Bucket="scans", Key=path.name, Body=path.read_bytes())

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        self.door.close()
        time.sleep(self.down_s)
        self.door.open()
        return True

    def told(self, record: Record) -> bool:
        """No page failed, and the fetcher says where the time went."""
        (session,) = record["sessions"]
        waited = session["stages"]["page_fetcher"]["seconds"]["fetch"]
        return record["codes"] == [0] and not _failures(record) and waited > self.down_s


class NodeKilled(Fault):
    """A cluster of two nodes loses the one that the driver is not on."""

    name, strikes = "worker node, kill -9", 1

    @contextlib.contextmanager
    def world(self) -> Iterator[dict[str, Any]]:
        from two_nodes import two_nodes

        with two_nodes() as self.cluster, super().world() as changes:
            yield changes | {"ray": {"address": self.cluster.address}}

    def changes(self) -> dict[str, Any]:
        """A node has room for one reader, and one of them for the fetcher as well."""
        return {"reader_pool": {"batch_size": 4, "num_cpus": 0.75, "min_size": 2, "max_size": 2}}

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        return self.cluster.kill_second()

    def told(self, record: Record) -> bool:
        return record["codes"] == [0] and not _failures(record)


class Door:
    """A TCP port that leads to another one, and can be closed. `pace_s`: before each answer."""

    def __init__(self, to: int, pace_s: float) -> None:
        self._to, self._pace_s = to, pace_s
        self.port = free_port()
        self._through: set[socket.socket] = set()
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Break every connection and refuse new ones."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._through):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                inside, _ = listener.accept()
                outside = socket.create_connection(("127.0.0.1", self._to))
                for a, b, pace_s in ((inside, outside, 0.0), (outside, inside, self._pace_s)):
                    self._through.add(a)
                    threading.Thread(target=self._carry, args=(a, b, pace_s), daemon=True).start()

    def _carry(self, a: socket.socket, b: socket.socket, pace_s: float) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(1 << 16):
                time.sleep(pace_s)
                b.sendall(data)
        for one in (a, b):
            self._through.discard(one)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on {port}")


FAULTS: tuple[type[Fault], ...] = (
    DriverKilled,
    EverythingKilled,
    RayletKilled,
    NodeKilled,
    ActorKilled,
    FallbackKilled,
    StoreDown,
    FullDisk,
    LeakingWorker,
    PoisonPage,
    HangingPage,
)

Made = Callable[[Path, int], Fault]
