"""A power failure at any moment leaves every committed shard whole.

A writer commits shards on an ext4 file system in an image file. The image is copied while the
writer stands still: the copy has what had reached the disk by then, and nothing of the page cache.
Needs root and loop devices.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

_WRITER = """
import sys, itertools, time
from pathlib import Path
import numpy as np, pyarrow as pa
from actors.failures import FAILURE
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import SinkConfig, stage_shard

run = RunDir(sys.argv[1])
noise = np.random.default_rng(0)
with run.locked():
    run.create()
    run.write_record({"sessions": []})
    print("record", flush=True)
    for number in itertools.count():
        ids = np.arange(number * 50, number * 50 + 50)
        rows = pa.table({
            "row_id": ids,
            "outcome": ["failed" if i % 25 == 0 else "ocr" for i in ids],
            "text": [noise.bytes(60).hex() for _ in ids],
            "fetch_failure": pa.nulls(len(ids), FAILURE),
        })
        shard = stage_shard(run, "part-00000", [rows], SinkConfig())
        run.commit(shard.name)
        print(shard.name, flush=True)
        time.sleep(0.1)  # or the disk is full before the last cut
        if number % 5 == 0:
            run.change_record(lambda record: record | {"sessions": [*record["sessions"], number]})
"""


def _run(*command: str | Path) -> bool:
    return subprocess.run([str(word) for word in command], capture_output=True).returncode == 0


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[bool]:
    """Mount an image, which replays its journal. Yields whether that worked."""
    at.mkdir(exist_ok=True)
    works = _run("mount", "-o", "loop", image, at)
    try:
        yield works
    finally:
        if works and not _run("umount", at):
            _run("umount", "-l", at)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty ext4 file system, mounted at tmp_path/disk; its image is tmp_path/image."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    if os.geteuid() or not shutil.which("mkfs.ext4") or not _run("mkfs.ext4", "-q", image):
        pytest.skip("needs root and mkfs.ext4")
    with mounted(image, tmp_path / "disk") as works:
        if not works:
            pytest.skip("needs loop devices")
        yield tmp_path / "disk"


def after_a_power_cut(copy: Path, at: Path, committed: list[str]) -> bool:
    """Check what is on the copied disk. False: the copy is of no single moment."""
    with mounted(copy, at) as works:
        if not works:
            return False
        run = at / "run"
        assert "sessions" in json.loads((run / "run.json").read_text())
        shards = {path.name: path for path in (run / "shards").glob("*.parquet")}
        assert set(committed) <= shards.keys()
        for name, path in shards.items():
            assert pq.read_table(path).num_rows == 50
            assert pq.read_table(run / "rejects" / name).num_rows == 2
    return True


def cut_the_power(disk: Path, moments: int) -> None:
    folder, log = disk.parent, disk.parent / "log"
    with log.open("w") as out:
        argv = [sys.executable, "-c", _WRITER, str(disk / "run")]
        writer = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)
    try:
        while "record" not in log.read_text():
            assert writer.poll() is None, log.read_text()
            time.sleep(0.05)
        usable, chance = 0, random.Random(0)
        for _ in range(moments):
            time.sleep(chance.uniform(0.0, 0.15))
            assert writer.poll() is None, log.read_text()
            writer.send_signal(signal.SIGSTOP)
            committed = log.read_text().split("\n")[1:-1]
            shutil.copyfile(folder / "image", folder / "copy")
            writer.send_signal(signal.SIGCONT)
            usable += after_a_power_cut(folder / "copy", folder / "copied", committed)
        assert len(committed) > moments / 2
        assert usable > 0.9 * moments
    finally:
        writer.kill()
        writer.wait()


def test_every_committed_shard_is_whole_after_a_power_cut(disk: Path) -> None:
    cut_the_power(disk, 20)


@pytest.mark.long
def test_two_hundred_power_cuts(disk: Path) -> None:
    cut_the_power(disk, 200)
