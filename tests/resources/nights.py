"""A run that is killed and started again until it is done, and the ways to kill it."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from conftest import nightjar_argv


class Night:
    """A run that is started, killed in some way, and started again."""

    def __init__(
        self, folder: Path, prepare: Callable[[Path, Path, int], Path], pages: int
    ) -> None:
        source = folder / "source"
        source.mkdir(parents=True)
        self.pages = pages
        self.run = folder / "run"
        self.log = folder / "log.txt"
        self.argv = nightjar_argv
        self.config = prepare(folder, source, self.pages)

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.argv("run", self.config), stdout=log, stderr=log, start_new_session=True
            )

    def written(self) -> list[int]:
        files = sorted((self.run / "shards").glob("*.parquet"))
        return [
            i for f in files for i in pq.read_table(f, columns=["row_id"])["row_id"].to_pylist()
        ]

    def written_ids(self) -> Counter[int]:
        return Counter(self.written())

    def wait_for(self, rows: int, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and len(self.written()) < rows:
            time.sleep(0.05)

    def finish(self) -> None:
        process = self.start()
        assert process.wait(timeout=580) == 0, self.log.read_text()[-3000:]

    def listed(self) -> Counter[int]:
        rows = ds.dataset(sorted((self.run / "manifest").glob("*.parquet"))).to_table()
        return Counter(rows["row_id"].to_pylist())

    def assert_exactly_once(self) -> None:
        owed = self.listed()
        assert len(owed) == self.pages
        assert self.written_ids() == owed
        assert all(path.suffix == ".parquet" for path in (self.run / "shards").iterdir())


Kill = Callable[[psutil.Process, random.Random], bool]


def kill_driver(driver: psutil.Process, _: random.Random) -> bool:
    driver.kill()
    return True


def kill_everything(driver: psutil.Process, _: random.Random) -> bool:
    for process in [driver, *driver.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return True


def named(processes: Iterable[psutil.Process], name: str) -> list[psutil.Process]:
    """Those whose command line has `name` in it."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found += [process] if name in " ".join(process.cmdline()) else []
    return found


def kill_one_worker(driver: psutil.Process, chance: random.Random) -> bool:
    """The run must survive this one by itself."""
    workers = named(driver.children(recursive=True), "MapWorker")
    if workers:
        chance.choice(workers).kill()
    return bool(workers)
