"""A power failure at any moment leaves every committed shard whole.

A writer commits shards on an ext4 file system in an image file. The image is copied while the
writer stands still: the copy has what had reached the disk by then, and nothing of the page cache.
Needs root and loop devices.

The image lies in memory where that is possible. On a slow disk every fsync would take a second. The
moments follow the writer's progress, not the clock, so a slow machine only makes the test slower.
"""

from __future__ import annotations

import filecmp
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

pytest_plugins = ["in_memory"]

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


_IMAGE_BYTES = 64 << 20
_DEADLINE_S = 120.0  #: for one commit


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
def disk(memory_folder: Path) -> Iterator[Path]:
    """An empty ext4 file system, mounted at FOLDER/disk; its image is FOLDER/image."""
    image = memory_folder / "image"
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    if os.geteuid() or not shutil.which("mkfs.ext4") or not _run("mkfs.ext4", "-q", image):
        pytest.skip("needs root and mkfs.ext4")
    with mounted(image, memory_folder / "disk") as works:
        if not works:
            pytest.skip("needs loop devices")
        yield memory_folder / "disk"


def copied(image: Path, copy: Path) -> None:
    """Copy the image as it is at one moment: the kernel writes to it while the writer is stopped.

    A copy of two moments can mount and lack files: it has old folders and an emptied journal.
    """
    for _ in range(20):
        shutil.copyfile(image, copy)
        if filecmp.cmp(image, copy, shallow=False):
            return
    raise AssertionError("the image changed during each of 20 copies")


def after_a_power_cut(copy: Path, at: Path, committed: list[str]) -> None:
    """Check what is on the copied disk."""
    with mounted(copy, at) as works:
        assert works, "the copied disk cannot be mounted"
        run = at / "run"
        assert "sessions" in json.loads((run / "run.json").read_text())
        shards = {path.name: path for path in (run / "shards").glob("*.parquet")}
        assert set(committed) <= shards.keys()
        for name, path in shards.items():
            assert pq.ParquetFile(path).read().num_rows == 50
            assert pq.ParquetFile(run / "rejects" / name).read().num_rows == 2


class Writer:
    """The process that commits shards to the disk."""

    def __init__(self, disk: Path) -> None:
        self._log = disk.parent / "log"
        argv = [sys.executable, "-c", _WRITER, str(disk / "run")]
        with self._log.open("w") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)

    def committed(self) -> list[str]:
        """Names of the shards whose commit has returned."""
        return self._log.read_text().split("\n")[1:-1]

    def wait_for(self, shards: int) -> None:
        """Wait until `shards` shards are committed."""
        deadline = time.monotonic() + _DEADLINE_S
        while len(self.committed()) < shards:
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"no commit in {_DEADLINE_S:.0f} s"
            time.sleep(0.01)


def cut_the_power(disk: Path, moments: int) -> None:
    folder, writer, chance = disk.parent, Writer(disk), random.Random(0)
    committed: list[str] = []
    try:
        for _ in range(moments):
            writer.wait_for(len(committed) + 1)
            time.sleep(chance.uniform(0.0, 0.15))
            writer.process.send_signal(signal.SIGSTOP)
            committed = writer.committed()
            copied(folder / "image", folder / "copy")
            writer.process.send_signal(signal.SIGCONT)
            after_a_power_cut(folder / "copy", folder / "copied", committed)
        assert len(committed) >= moments
    finally:
        writer.process.kill()
        writer.process.wait()


def test_every_committed_shard_is_whole_after_a_power_cut(disk: Path) -> None:
    cut_the_power(disk, 20)


@pytest.mark.long
def test_two_hundred_power_cuts(disk: Path) -> None:
    cut_the_power(disk, 200)
