"""What every fault of the chaos suite has in common.

A fault says what it needs of the config (`changes`), strikes while the run is under way (`strike`,
True if it hit), lets the world recover before the next start (`recover`), and knows what the run's
own record must say of it (`told`).
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import psutil
from bad_files import many_pages

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

    def struck_besides(self) -> int:
        """Faults that were injected without `strike`, after the night."""
        return 0

    def strike(self, driver: psutil.Process, chance: random.Random) -> bool:
        """Do it now; False: there was nothing to hit yet."""
        return True

    def recover(self) -> None:
        """Before the run is started again."""

    def told(self, record: Record) -> bool:
        """Whether the run's record counts what happened."""
        return record["codes"] == [0]


def failures(record: Record) -> dict[str, int]:
    """Failure kind -> rows, over the whole run."""
    counts: dict[str, int] = record["totals"]["failures"]
    return counts


def worker_deaths(record: Record) -> int:
    """Deaths that the sessions counted."""
    stages = [stage for session in record["sessions"] for stage in session["stages"].values()]
    return sum(stage["worker_deaths"] for stage in stages)
