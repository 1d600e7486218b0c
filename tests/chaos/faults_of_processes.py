"""Processes that die, and signals that ask them to end."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
from nights import kill_driver, kill_everything, kill_one_worker, named

from chaos.fault import Fault, Record, failures, worker_deaths


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
        return record["codes"] == [0] and not failures(record)


class ActorKilled(Fault):
    name, strikes = "one worker, kill -9", 3

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        return kill_one_worker(driver, chance)

    def told(self, record: Record) -> bool:
        """An idle worker's death costs nothing and is not counted: at most one each."""
        return record["codes"] == [0] and worker_deaths(record) <= self.strikes


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
        return self.killed > 0 and 0 < worker_deaths(record) <= self.killed and not failures(record)


class AskedToStop(Fault):
    """Ctrl-C, SIGTERM or SIGHUP, once or twice. The run ends, and a new start goes on."""

    name, survived, strikes = "SIGINT, SIGTERM or SIGHUP", False, 3

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        number = chance.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        driver.send_signal(number)
        if chance.random() < 0.5:
            time.sleep(chance.random())
            with contextlib.suppress(psutil.NoSuchProcess):
                driver.send_signal(number)
        return True

    def told(self, record: Record) -> bool:
        """Each start that was stopped writes its session. The last may find everything done."""
        stopped = [session for session in record["sessions"] if "stopped" in session]
        return record["codes"] == [130] * self.strikes + [0] and len(stopped) == self.strikes
