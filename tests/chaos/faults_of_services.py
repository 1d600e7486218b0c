"""A full disk, and a fallback server that dies or refuses everybody."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from s3_server import free_port

from chaos.door import wait_for_port
from chaos.fault import Fault, Record, failures

RESOURCES = Path(__file__).parent.parent / "resources"


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

    def _start(self, answer: str = "said('one page')") -> None:
        argv = [sys.executable, "-c", _CHAT.format(answer), str(self.port)]
        self.server = subprocess.Popen(argv, cwd=RESOURCES)
        wait_for_port(self.port)

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        self.server.kill()
        self.server.wait()
        time.sleep(self.down_s)
        self._start()
        return True

    def told(self, record: Record) -> bool:
        kinds = set(failures(record))
        return record["codes"] == [0] and kinds <= {"VLM_UNREACHABLE", "VLM_TIMEOUT"}


_CHAT = """
import sys, time
from chat_server import ChatServer, said, status
server = ChatServer(dict())
server.always = {}
server.down()
server.port = int(sys.argv[1])
server.up()
time.sleep(10**6)
"""


class FallbackRefuses(FallbackKilled):
    """The fallback's server takes nobody's key any more, until somebody renews it."""

    name, survived, strikes = "fallback refuses every key", False, 1

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        self.server.kill()
        self.server.wait()
        self._start("status(401)")
        return True

    def recover(self) -> None:
        self.server.kill()
        self.server.wait()
        self._start()

    def told(self, record: Record) -> bool:
        """The run stopped, or had sent its last page already. No page failed for it."""
        return record["codes"][-1] == 0 and not failures(record)
