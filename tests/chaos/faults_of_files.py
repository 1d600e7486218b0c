"""Files that vanish or come back damaged, and the processes that render them."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import psutil
from nights import named

from chaos.fault import Fault, Record, failures
from chaos.faults_of_processes import DriverKilled

#: Renders each page in 0.1 s or more, so that the fault meets pages still to come.
SLOWLY = {"renderer": "doubles.renders_slowly", "threads": 1, "read_ahead_mb": 1}


class SourceGone(Fault):
    """The folder of the source vanishes like a mount, until somebody mounts it again."""

    name, survived, strikes = "source folder gone", False, 1

    def changes(self) -> dict[str, Any]:
        return {"fetch": SLOWLY | {"outage_s": 5.0}}

    def _away(self) -> Path:
        return self.folder / "source.away"

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        (self.folder / "source").rename(self._away())
        return True

    def recover(self) -> None:
        if self._away().exists():
            self._away().rename(self.folder / "source")

    def told(self, record: Record) -> bool:
        return record["codes"] == [3, 0] and not failures(record)


class RendererKilled(Fault):
    """The rendering processes are killed, as by the kernel when memory is short."""

    name, strikes = "renderers, kill -9", 3

    def changes(self) -> dict[str, Any]:
        return {"fetch": SLOWLY}

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        children = named(driver.children(recursive=True), "sandbox_child")
        for one in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        return bool(children)

    def told(self, record: Record) -> bool:
        """Each page is tried again in a new process, and none fails."""
        return record["codes"] == [0] and not failures(record)


class ShardTorn(DriverKilled):
    """The driver dies, and a committed shard comes back short, empty, or as zeros."""

    name, strikes = "committed shard torn", 2

    def recover(self) -> None:
        shards = sorted((self.folder / "run" / "shards").glob("*.parquet"))
        chance = random.Random(len(shards))
        torn = chance.choice(shards)
        whole = torn.read_bytes()
        keep = chance.randrange(len(whole))
        torn.write_bytes(
            chance.choice((b"", whole[:keep], whole[:keep] + bytes(len(whole) - keep)))
        )

    def told(self, record: Record) -> bool:
        damaged = [*(self.folder / "run" / "damaged").rglob("*.parquet")]
        return super().told(record) and len(damaged) >= self.strikes and not failures(record)
