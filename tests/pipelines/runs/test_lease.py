"""Who holds a run in a bucket: one at a time, the dead give way, and nobody comes back."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from contended import one_of_many_gets_it
from doubles.troubled_s3 import TroubledS3

from pipelines.errors import NightjarError, OutputUnwritable, RunBusy, RunConflict
from pipelines.runs.lease import Lease
from pipelines.storage.paths import STORAGE_ENV, BucketPath

if TYPE_CHECKING:
    from s3_server import Bucket

pytest_plugins = ["s3_server"]

HOLDER = """
import sys
from pipelines.errors import NightjarError
from pipelines.runs.lease import Lease
from pipelines.storage.paths import BucketPath
with Lease(BucketPath(sys.argv[1]), 1.5) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lease.swap(shards=lease.head.shards + 1)
        print("swapped", flush=True)
    except NightjarError as error:
        print(type(error).__name__, error, flush=True)
"""

#: No test lives to see a holder that is silent for so long.
NEVER_S = 100_000.0


@pytest.fixture
def path(bucket: Bucket) -> BucketPath:
    return BucketPath(f"s3://{bucket.name}/run/lease.json", bucket.settings)


@pytest.fixture
def other(path: BucketPath, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease, and swaps it when it reads a line."""
    monkeypatch.setenv(STORAGE_ENV, path.settings.model_dump_json())
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert said_by(holder) == "held"
    yield holder
    holder.send_signal(signal.SIGCONT)
    with suppress(BrokenPipeError):
        holder.communicate("\n", timeout=20)


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return said_by(process)


def test_the_second_driver_is_refused_and_told_who_the_first_is(
    path: BucketPath, other: subprocess.Popen[str]
) -> None:
    with pytest.raises(RunBusy, match=f"process {other.pid} on") as caught, Lease(path, 30.0):
        pass
    assert "--new" in caught.value.remedy
    assert told(other) == "swapped", "the first goes on"


def test_what_was_released_is_free_at_once(path: BucketPath) -> None:
    with Lease(path) as first:
        first.swap(shards=3, digest="abc")
    with Lease(path, NEVER_S) as second:
        assert (second.head.shards, second.head.digest) == (3, "abc")
        assert second.session != first.session
        assert (first.is_new, second.is_new) == (True, False)


def test_a_killed_driver_gives_way_at_once_on_its_own_machine(
    path: BucketPath, other: subprocess.Popen[str]
) -> None:
    other.kill()
    other.wait()
    with Lease(path, NEVER_S) as mine:  # elsewhere, so much silence would have to pass
        mine.swap(shards=1)


def test_a_stopped_driver_is_taken_over_from_and_cannot_commit_when_it_comes_back(
    path: BucketPath, other: subprocess.Popen[str]
) -> None:
    other.send_signal(signal.SIGSTOP)
    with Lease(path, 1.5) as mine:
        mine.swap(shards=1)
        other.send_signal(signal.SIGCONT)
        said = told(other)
        assert said.startswith("RunBusy")
        assert "has taken over" in said
        mine.swap(shards=2)
    assert b'"shards":2' in path.read_bytes()


def test_of_many_that_come_at_once_one_gets_it(path: BucketPath) -> None:
    one_of_many_gets_it(path)


def through(trouble: TroubledS3, path: BucketPath, attempts: int = 4) -> BucketPath:
    changes = {"endpoint_url": trouble.url, "max_attempts": attempts, "read_timeout_s": 1.0}
    return BucketPath(str(path), path.settings.model_copy(update=changes))


@pytest.mark.parametrize("fault", ["lost answer", "reset", "slow down", "internal error"])
def test_a_swap_whose_answer_is_lost_counts_once_and_loses_nothing(
    path: BucketPath, trouble: TroubledS3, fault: str
) -> None:
    with Lease(through(trouble, path)) as lease:
        lease.swap(shards=1)
        trouble.plan("PUT", fault, times=2)
        lease.swap(shards=2)
        lease.swap(shards=3)
        assert trouble.met[fault] == 2
    assert b'"shards":3' in path.read_bytes()
    assert b'"released":true' in path.read_bytes()


def test_after_an_outage_that_was_too_long_nothing_can_be_swapped(
    path: BucketPath, trouble: TroubledS3
) -> None:
    """Whether the last swap arrived is not known: only the next holder can look."""
    with Lease(through(trouble, path, attempts=2)) as lease:
        trouble.plan("PUT", "slow down", times=2)
        with pytest.raises(OutputUnwritable, match="SlowDown") as caught:
            lease.swap(shards=1)
        assert "start the same command again" in caught.value.remedy
        with pytest.raises(NightjarError, match="SlowDown"):
            lease.swap(shards=1)
    with Lease(path, 1.0) as again:
        assert again.head.shards == 0


def test_a_store_that_ignores_conditions_is_refused(path: BucketPath, trouble: TroubledS3) -> None:
    trouble.ignores_conditions = True
    with pytest.raises(OutputUnwritable, match="ignores If-None-Match") as caught:
        Lease(through(trouble, path)).__enter__()
    assert "MinIO" in caught.value.remedy


def test_a_lease_of_something_else_is_not_overwritten(path: BucketPath) -> None:
    path.write_text('{"not": "ours"}')
    with pytest.raises(RunConflict, match=r"lease\.json is not a lease"), Lease(path):
        pass
    assert path.read_text() == '{"not": "ours"}'
