"""kill -9 at random moments: after the rerun every row of the manifest is written exactly once."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml
from bad_files import many_pages
from conftest import REPOSITORY, nightjar_argv, write_config
from PIL import Image

from actors.pocket.scenes import scene

#: Of a night with so many kills: a start commits up to 20 before the next kill finds it.
PAGES = {2: 120, 3: 160, 10: 440}
SINK = {"rows_per_shard": 8, "flush_seconds": 1.0}


def ocr_night(folder: Path, source: Path, pages: int) -> Path:
    """Small pages, and a config that reads them."""
    many_pages(source, pages)
    return write_config(folder, source, sink=SINK)


def labelling_night(folder: Path, source: Path, pages: int) -> Path:
    """Small scenes, and the labelling quickstart over them."""
    scenes = [scene(3, number, 320, 256) for number in range(8)]
    for number in range(pages):
        Image.fromarray(scenes[number % 8].pixels).save(source / f"{number:03d}.jpg")
    config = yaml.safe_load((REPOSITORY / "configs/autolabel/quickstart.yaml").read_text())
    pools = {name: config[name] | {"batch_size": 2} for name in config if name.endswith("_pool")}
    for part in ("detector", "segmenter"):
        config[part]["model"] = str(REPOSITORY / config[part]["model"])
    del config["truth"]
    config |= pools | {"source": {"path": str(source)}, "run_dir": str(folder / "run")}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config | {"sink": SINK, "ray": {"object_store_mb": 200}}))
    return path


class Night:
    """A run that is started, killed in some way, and started again."""

    def __init__(
        self, folder: Path, prepare: Callable[[Path, Path, int], Path], kills: int
    ) -> None:
        source = folder / "source"
        source.mkdir()
        self.pages = PAGES[kills]
        self.run = folder / "run"
        self.config = prepare(folder, source, self.pages)

    def start(self) -> subprocess.Popen[bytes]:
        log = (self.run.parent / "log.txt").open("ab")
        return subprocess.Popen(
            nightjar_argv("run", self.config), stdout=log, stderr=log, start_new_session=True
        )

    def written(self) -> list[int]:
        files = sorted((self.run / "shards").glob("*.parquet"))
        return [
            i for f in files for i in pq.read_table(f, columns=["row_id"])["row_id"].to_pylist()
        ]

    def wait_for(self, rows: int, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and len(self.written()) < rows:
            time.sleep(0.05)

    def finish(self) -> None:
        process = self.start()
        assert process.wait(timeout=200) == 0, (self.run.parent / "log.txt").read_text()[-3000:]

    def assert_exactly_once(self) -> None:
        listed = ds.dataset(sorted((self.run / "manifest").glob("*.parquet"))).to_table()
        owed = Counter(listed["row_id"].to_pylist())
        assert len(owed) == self.pages
        assert Counter(self.written()) == owed
        assert all(path.suffix == ".parquet" for path in (self.run / "shards").iterdir())


Kill = Callable[[psutil.Process, random.Random], None]


def kill_driver(driver: psutil.Process, _: random.Random) -> None:
    driver.kill()


def kill_everything(driver: psutil.Process, _: random.Random) -> None:
    for process in [driver, *driver.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def kill_one_worker(driver: psutil.Process, chance: random.Random) -> None:
    """The run must survive this one by itself."""
    children = driver.children(recursive=True)
    workers = [c for c in children if "MapWorker" in " ".join(c.cmdline())]
    chance.choice(workers).kill()


def survive(night: Night, kills: Sequence[Kill], chance: random.Random) -> None:
    """Kill at random moments, start again whenever the run is down, and let it end."""
    killed, process = 0, night.start()
    for kill in kills:
        if process.poll() is not None:
            process = night.start()
        goal = len(night.written()) + chance.randint(1, night.pages // (4 * len(kills)))
        night.wait_for(goal, process)
        time.sleep(chance.random())
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            kill(psutil.Process(process.pid), chance)
            killed += 1
        if kill is not kill_one_worker:
            process.wait(timeout=200)
    process.wait(timeout=200)
    assert killed == len(kills), "the run was over before its last kill"
    night.finish()
    night.assert_exactly_once()


@pytest.mark.timeout(900)
def test_killed_driver_killed_worker_killed_everything(tmp_path: Path) -> None:
    kills = [kill_one_worker, kill_driver, kill_everything]
    survive(Night(tmp_path, ocr_night, len(kills)), kills, random.Random(7))


@pytest.mark.timeout(900)
def test_a_night_of_labelling_survives_as_well(tmp_path: Path) -> None:
    """Two kills: each start loads torch twice, 20 s on two idle cores."""
    kills = [kill_one_worker, kill_everything]
    survive(Night(tmp_path, labelling_night, len(kills)), kills, random.Random(7))


@pytest.mark.long
@pytest.mark.parametrize(
    ("prepare", "seed"), [(ocr_night, 0), (ocr_night, 1), (labelling_night, 2)]
)
def test_ten_kills_in_one_night(tmp_path: Path, prepare, seed: int) -> None:
    chance = random.Random(seed)
    kills = [kill_driver, kill_one_worker, kill_everything] * 3 + [kill_driver]
    chance.shuffle(kills)
    survive(Night(tmp_path, prepare, len(kills)), kills, chance)
