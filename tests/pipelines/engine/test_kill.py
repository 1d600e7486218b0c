"""kill -9 at random moments: after the rerun every row of the manifest is written exactly once."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
import yaml
from bad_files import many_pages
from conftest import REPOSITORY, write_config
from nights import Kill, Night, kill_driver, kill_everything, kill_one_worker
from PIL import Image

from actors.pocket.scenes import scene

#: A start commits up to 20 pages before the next kill finds it.
PAGES_PER_KILL = 50
SINK = {"rows_per_shard": 8, "flush_seconds": 1.0}


def ocr_night(folder: Path, source: Path, pages: int) -> Path:
    """Small pages, and a config that reads them."""
    many_pages(source, pages)
    return write_config(folder, source, sink=SINK)


def labelling_night(folder: Path, source: Path, pages: int) -> Path:
    """Small scenes, and the labelling quickstart over them: both models in one worker."""
    scenes = [scene(3, number, 320, 256) for number in range(8)]
    for number in range(pages):
        Image.fromarray(scenes[number % 8].pixels).save(source / f"{number:03d}.jpg")
    config = yaml.safe_load((REPOSITORY / "configs/autolabel/quickstart.yaml").read_text())
    assert config["segmenter_pool"] is None, "the detector's workers segment as well"
    pools = {name: config[name] | {"batch_size": 2} for name in ("fetch_pool", "detector_pool")}
    for part in ("detector", "segmenter"):
        config[part]["model"] = str(REPOSITORY / config[part]["model"])
    del config["truth"]
    config |= pools | {"source": {"path": str(source)}, "run_dir": str(folder / "run")}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config | {"sink": SINK, "ray": {"object_store_mb": 200}}))
    return path


def kill_at_random(
    night: Night, kill: Kill, process: subprocess.Popen[bytes], chance: random.Random
) -> bool:
    """Wait for a few more rows and kill; False where the run ended before it could be killed."""
    night.wait_for(len(night.written()) + chance.randint(1, PAGES_PER_KILL // 4), process)
    time.sleep(chance.random())
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if kill(psutil.Process(process.pid), chance):
                return True
        time.sleep(0.05)
    return False


def survive(night: Night, kills: Sequence[Kill], chance: random.Random) -> bool:
    """Kill at random moments, start again whenever the run is down, and let it end.

    False: the run was over before its last kill.
    """
    killed, process = 0, night.start()
    for kill in kills:
        if process.poll() is not None:
            process = night.start()
        killed += kill_at_random(night, kill, process, chance)
        if kill is not kill_one_worker:
            process.wait(timeout=400)
    process.wait(timeout=400)
    night.finish()
    night.assert_exactly_once()
    return killed == len(kills)


def survive_all(
    folder: Path, prepare: Callable[[Path, Path, int], Path], kills: Sequence[Kill], seed: int
) -> None:
    """A night that a fast machine ended before its last kill is repeated with twice the pages."""
    for factor in (1, 2, 4):
        night = Night(folder / str(factor), prepare, PAGES_PER_KILL * len(kills) * factor)
        if survive(night, kills, random.Random(seed)):
            return
    raise AssertionError("three nights were over before their last kill")


@pytest.mark.timeout(900)
def test_a_night_of_reading_survives_a_worker_and_its_driver(tmp_path: Path) -> None:
    kills = [kill_one_worker, kill_driver]
    survive_all(tmp_path, ocr_night, kills, 7)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_night_of_labelling_survives_a_worker_and_everything(tmp_path: Path) -> None:
    """Each start loads torch twice, 20 s on two idle cores."""
    kills = [kill_one_worker, kill_everything]
    survive_all(tmp_path, labelling_night, kills, 7)


@pytest.mark.long
@pytest.mark.parametrize(
    ("prepare", "seed"), [(ocr_night, 0), (ocr_night, 1), (labelling_night, 2)]
)
def test_ten_kills_in_one_night(tmp_path: Path, prepare, seed: int) -> None:
    kills = [kill_driver, kill_one_worker, kill_everything] * 3 + [kill_driver]
    random.Random(seed).shuffle(kills)
    survive_all(tmp_path, prepare, kills, seed)
