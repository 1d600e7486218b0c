"""A run with source and run directory in a bucket: two refusals, one kill, no row lost.

Two minutes of Ray's starts; `test_s3_runs` kills drivers without Ray in the normal suite.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from bad_files import many_pages
from conftest import nightjar_argv, write_config
from doubles.troubled_s3 import TroubledS3

from pipelines.runs.directory import RunDir
from pipelines.sources.manifest import iter_parts, read_part

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]


class Night:
    """A run in a bucket, whose requests all go through a proxy of ours."""

    def __init__(self, folder: Path, bucket: Bucket, trouble: TroubledS3, pages: int) -> None:
        self._log, self._trouble = folder / "log.txt", trouble
        for number, page in enumerate(many_pages(folder, pages)):
            bucket.put(f"pages-{pages}/{number:04d}{page.suffix}", page.read_bytes())
        storage = {"endpoint_url": trouble.url, "addressing": "path"}
        self.config = write_config(
            folder,
            f"s3://{bucket.name}/pages-{pages}",
            run_dir=f"s3://{bucket.name}/night-{pages}",
            fetch={"storage": storage},
            sink={"rows_per_shard": 4, "flush_seconds": 1.0},
        )
        self.run = RunDir(f"s3://{bucket.name}/night-{pages}", bucket.settings)

    def start(self) -> subprocess.Popen[bytes]:
        log = self._log.open("ab")
        argv = nightjar_argv("run", self.config)
        return subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)

    def finish(self, outage_s: float) -> None:
        """To the end, with an outage that begins once the store has answered this driver."""
        seen, process = len(self._trouble.requests), self.start()
        wait_until(lambda: len(self._trouble.requests) > seen + 8, process)
        self._trouble.down_until = time.monotonic() + outage_s
        code = process.wait(timeout=400)
        while code == 7:  # Ray itself gives up where a machine is busy for half a minute
            code = self.start().wait(timeout=400)
        assert code == 0, self._log.read_text()[-3000:]

    def written(self) -> list[int]:
        tables = [pq.read_table(path.opened()) for path in self.run.shard_files()]  # type: ignore[union-attr]
        return [row_id for table in tables for row_id in table["row_id"].to_pylist()]

    def owed(self) -> list[int]:
        parts = [read_part(part) for part in iter_parts(self.run.manifest)]
        return [row_id for part in parts for row_id in part["row_id"].to_pylist()]


def wait_until(condition: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(condition)
    while process.poll() is None and not condition():
        time.sleep(0.1)


def killed_in_the_middle(night: Night) -> bool:
    """Start, let a second driver try, kill the first; False if it had finished by then."""
    first = night.start()
    wait_until((night.run.path / "lease.json").is_file, first)
    second = subprocess.run(nightjar_argv("run", night.config), capture_output=True, text=True)
    refused = second.returncode == 5 and "is being written by process" in second.stderr
    assert refused or first.poll() is not None, second.stderr
    wait_until(lambda: len(night.run.shard_files()) >= 2, first)
    time.sleep(0.3)
    first.kill()
    return first.wait() != 0


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_driver_is_killed_and_the_store_fails_and_every_row_is_written_once(
    tmp_path: Path, bucket: Bucket, trouble: TroubledS3
) -> None:
    for pages in (60, 240):
        night = Night(tmp_path, bucket, trouble, pages)
        if killed_in_the_middle(night):
            break
    before = len(night.written())
    assert 0 < before < pages
    trouble.share = 0.05
    night.finish(outage_s=3.0)
    assert trouble.met.total() > 3
    trouble.share = 0.0
    assert len(night.owed()) == pages
    assert Counter(night.written()) == Counter(night.owed())
    record = night.run.read_record()
    assert record["totals"]["rows"] == pages
    (session,) = record["sessions"]  # the killed one could write none
    made_up = pages - before - session["rows"]
    assert 0 <= made_up <= 8, "a shard that was committed and not yet copied when the kill came"
