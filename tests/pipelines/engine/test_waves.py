"""Rows in = rows out through real Ray, with models that misbehave."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from doubles.cannot_start import CannotStart
from doubles.counting_reader import CountingReader, ReaderConfig
from doubles.ends_slowly import EndsSlowly
from doubles.exits_on_one_row import ExitsOnOneRow
from doubles.frees_large_blocks import BLOCK, FreesLargeBlocks
from doubles.kills_process_on_one_row import KillsProcessOnOneRow
from doubles.kills_process_weighing_one_row import KillsProcessWeighingOneRow
from doubles.leaks_memory import LeaksMemory
from doubles.loses_a_row import LosesARow
from doubles.never_starts import NeverStarts
from doubles.spoils_its_device import SpoilsItsDevice
from doubles.tiny_job import tiny_flow, tiny_rows
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from pipelines.config import RayConfig
from pipelines.engine import cluster, stream, waves
from pipelines.engine.committer import Committer
from pipelines.engine.progress import Committed, Progress
from pipelines.engine.sizes import pools
from pipelines.engine.stopping import Stop
from pipelines.errors import ClusterUnreachable, OutputUnwritable, RunFailed, WeightsMissing
from pipelines.flow import Flow
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import SinkConfig, stage_shard, totals

ROWS = 160


@pytest.fixture(scope="module", autouse=True)
def running_cluster() -> Iterator[None]:
    with cluster.cluster(RayConfig(object_store_mb=100)):
        yield
        (raylet,) = [one for one in psutil.Process().children(True) if one.name() == "raylet"]
        family = raylet.children(recursive=True)
    assert not [one for one in psutil.wait_procs(family, timeout=60)[1] if _works(one)]
    left = [thread for thread in threading.enumerate() if isinstance(thread, StreamingExecutor)]
    assert not left, "a stream that was given up would abort the process"


def _works(process: psutil.Process) -> bool:
    """Not so a zombie whose new parent has not looked yet."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create()
    return run


def wave(
    flow: Flow,
    run: RunDir,
    sink: SinkConfig | None = None,
    start_timeout_s: float = 120.0,
    stop: Stop | None = None,
) -> Progress:
    """What `run_waves` does for one part."""
    progress = Progress(ROWS, 0, tuple(s.name for s in flow.stages))
    rows = tiny_rows(ROWS)
    committer = Committer(
        run, "part-00000", rows["row_id"].to_numpy(), sink or SinkConfig(), progress.committed
    )
    board = stream.start_board()
    flow = pools.sized(flow, RayConfig())
    starting = waves.Starting(flow, board, start_timeout_s)
    waves.run_wave(
        flow,
        rows,
        board,
        committer,
        run,
        lambda: waves.look(board, progress, _ignore),
        starting,
        waves.Ending(stop or Stop(), progress, committer),
    )
    return progress


def _ignore(_: Progress) -> None:
    return None


def rows_of(run: RunDir) -> list[dict[str, Any]]:
    return [row for f in run.shard_files() for row in pq.read_table(f).to_pylist()]


def failures(run: RunDir) -> dict[int, str]:
    return {r["row_id"]: r["read_failure"]["kind"] for r in rows_of(run) if r["read_failure"]}


def test_a_healthy_wave_writes_each_row_once_in_shards_of_the_size_asked_for(run: RunDir) -> None:
    progress = wave(tiny_flow(CountingReader), run, SinkConfig(rows_per_shard=64))
    assert Counter(r["row_id"] for r in rows_of(run)) == Counter(range(ROWS))
    assert len(run.shard_files()) == 3
    assert progress.scores["counting_reader"].rows == ROWS
    assert progress.committed.outcomes == {"ocr": ROWS}


def test_a_row_that_kills_its_process_is_quarantined_and_the_rest_is_read(run: RunDir) -> None:
    progress = wave(tiny_flow(KillsProcessOnOneRow, poison_row=77), run)
    assert Counter(r["row_id"] for r in rows_of(run)) == Counter(range(ROWS))
    assert failures(run) == {77: "ENGINE_CRASH"}
    assert progress.scores["kills_process_on_one_row"].deaths == 3, "batch, alone, alone again"


def test_a_worker_that_does_not_end_is_ended_with_the_cluster(run: RunDir) -> None:
    """The module's fixture sees that none is left."""
    wave(tiny_flow(EndsSlowly), run)
    assert Counter(r["row_id"] for r in rows_of(run)) == Counter(range(ROWS))


def test_two_models_in_one_worker_and_a_row_that_the_second_dies_of(run: RunDir) -> None:
    flow = tiny_flow(CountingReader).through(
        KillsProcessWeighingOneRow, ReaderConfig(poison_row=77), None
    )
    progress = wave(flow, run)
    rows = rows_of(run)
    assert Counter(r["row_id"] for r in rows) == Counter(range(ROWS))
    lost = [r["row_id"] for r in rows if r["weigh_failure"]]
    assert lost == [77]
    assert failures(run) == {}, "the first model has read that row"
    (poisoned,) = (r for r in rows if r["row_id"] == 77)
    assert poisoned["weigh_failure"]["kind"] == "ENGINE_CRASH"
    assert poisoned["length"] == len("file-77")
    assert len({r["weight"] for r in rows if r["weight"]}) > 1, "processes that died were replaced"
    assert progress.scores["kills_process_weighing_one_row"].deaths == 3
    assert progress.scores["counting_reader"].deaths == 0


@pytest.mark.parametrize(("rows", "workers"), [(16, 1), (17, 2), (10**6, None)])
def test_an_open_pool_has_no_more_workers_than_there_are_batches(
    rows: int, workers: int | None
) -> None:
    flow = tiny_flow(CountingReader, max_size=None)
    (stage,) = pools.sized(flow, RayConfig(), rows).stages
    fitting = int(ray.cluster_resources()["CPU"])
    assert stage.pool.min_size == min(workers or fitting, fitting)


def test_an_open_pool_is_settled_for_all_who_share_it() -> None:
    flow = tiny_flow(CountingReader, max_size=None).through(
        KillsProcessWeighingOneRow, ReaderConfig(), None
    )
    first, second = pools.sized(flow, RayConfig()).stages
    assert first.pool.max_size == ray.cluster_resources()["CPU"]
    assert second.pool == first.pool


def test_a_worker_that_grows_is_replaced_between_batches_and_no_row_is_suspected(
    run: RunDir,
) -> None:
    """24 MiB a batch, 84 allowed: each process takes four batches, the fifth finds it worn."""
    progress = wave(tiny_flow(LeaksMemory, recycle_mb=84), run)
    assert Counter(r["row_id"] for r in rows_of(run)) == Counter(range(ROWS))
    assert failures(run) == {}
    score = progress.scores["leaks_memory"]
    assert score.recycled == 2
    assert score.deaths == 0
    assert score.rows == ROWS, "no batch was read twice"


@pytest.mark.long
def test_a_worker_whose_device_is_spoiled_is_replaced_and_the_row_fails_alone(run: RunDir) -> None:
    """The row spoils every process that reads it. More cases: `test_fitness.py`."""
    progress = wave(tiny_flow(SpoilsItsDevice, poison_row=77), run)
    assert Counter(r["row_id"] for r in rows_of(run)) == Counter(range(ROWS))
    assert failures(run) == {77: "ENGINE_FAULT"}
    score = progress.scores["spoils_its_device"]
    assert (score.recycled, score.deaths) == (3, 0)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other heaps are left alone")
def test_freed_memory_serves_the_next_batch_of_a_worker(run: RunDir) -> None:
    """Ray's worker calls the model in a thread that would have a small heap of its own."""
    wave(tiny_flow(FreesLargeBlocks), run)
    faults = sorted(r["length"] for r in rows_of(run))
    pages = BLOCK / os.sysconf("SC_PAGE_SIZE")
    assert faults[-1] > 0.9 * pages, "the first batch's block is new"
    assert faults[len(faults) // 2] < 0.05 * pages


def test_a_model_that_exits_does_not_hang_the_pool(run: RunDir) -> None:
    wave(tiny_flow(ExitsOnOneRow, poison_row=3), run)
    assert failures(run) == {3: "ENGINE_FAULT"}


def test_a_model_that_loses_rows_loses_none_here(run: RunDir) -> None:
    wave(tiny_flow(LosesARow), run)
    assert Counter(r["row_id"] for r in rows_of(run)) == Counter(range(ROWS))


def test_a_model_that_cannot_start_stops_the_run_with_its_own_words(run: RunDir) -> None:
    with pytest.raises(WeightsMissing, match="cannot_start cannot start: no weights at") as caught:
        wave(tiny_flow(CannotStart), run)
    assert caught.value.remedy == "download them first"


def test_a_pool_none_of_whose_workers_is_up_in_time_stops_the_run(run: RunDir) -> None:
    with pytest.raises(ClusterUnreachable, match="no worker of never_starts has started in"):
        wave(tiny_flow(NeverStarts), run, start_timeout_s=3)


def test_an_impossible_request_is_refused_at_once(run: RunDir) -> None:
    with pytest.raises(ClusterUnreachable, match="needs 1 x 1 GPU, but this machine has 0"):
        wave(tiny_flow(CountingReader, num_gpus=1), run)


def test_pools_that_cannot_stand_beside_each_other_are_refused_at_once(run: RunDir) -> None:
    """Each fits alone. Ray would wait for the last one until start_timeout_s."""
    cpus = ray.cluster_resources()["CPU"]
    flow = tiny_flow(CountingReader, num_cpus=cpus)
    second = flow.through(KillsProcessWeighingOneRow, flow.stages[0].config, flow.stages[0].pool)
    with pytest.raises(ClusterUnreachable, match=r"together \(counting_reader .*, kills_process"):
        wave(second, run)


def test_open_pools_share_what_there_is_even_if_it_is_less_than_they_want() -> None:
    cpus = ray.cluster_resources()["CPU"]
    flow = tiny_flow(CountingReader, num_cpus=cpus, max_size=None)
    second = flow.through(KillsProcessWeighingOneRow, flow.stages[0].config, flow.stages[0].pool)
    sizes = [stage.pool for stage in pools.sized(second, RayConfig()).stages]
    assert [(pool.min_size, pool.num_cpus) for pool in sizes] == [(1, cpus / 2)] * 2


def test_rows_that_are_not_owed_are_never_committed(run: RunDir) -> None:
    owed = np.arange(4, dtype=np.int64)
    committer = Committer(run, "p", owed, SinkConfig(), Committed())
    done = tiny_flow(CountingReader).run_here(tiny_rows(6))
    shard = stage_shard(run, "p", [done], SinkConfig())
    with pytest.raises(RunFailed, match="holds a row twice, or a row that is not open"):
        committer.commit(shard)
    twice = stage_shard(run, "p", [done.slice(0, 2)], SinkConfig())
    committer.commit(twice)
    with pytest.raises(RunFailed, match="holds a row twice, or a row that is not open"):
        committer.commit(twice)
    with pytest.raises(RunFailed, match="2 of 4 rows were lost in the flow"):
        committer.finish()
    assert totals(run).rows == 2


@pytest.mark.parametrize(("padding", "at_once"), [(10, [1, 1, 2]), (5_000_000, [0, 0, 2])])
def test_the_first_rows_do_not_wait_for_a_writers_process(
    run: RunDir, padding: int, at_once: list[int]
) -> None:
    """Unless they are many: the driver holds what it writes itself."""
    done = tiny_flow(CountingReader).run_here(tiny_rows(4))
    done = done.append_column("padding", pa.array(["x" * padding] * 4))
    progress = Committed()
    committer = Committer(run, "p", np.arange(4, dtype=np.int64), SinkConfig(), progress)
    shards = []
    for half in (done.slice(0, 2), done.slice(2)):
        for bundle in ray.data.from_blocks([half]).iter_internal_ref_bundles():
            committer.add(bundle)
        committer.flush()
        shards.append(progress.shards)  # of a writer's task nothing is known yet
    committer.finish()
    assert [*shards, progress.shards] == at_once
    assert totals(run).rows == 4


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_stops_the_run_and_keeps_what_is_committed(full_disk: Path) -> None:
    run = RunDir(full_disk / "run")
    run.create()
    (full_disk / "ballast").write_bytes(os.urandom(52_000))
    with pytest.raises(OutputUnwritable, match="No space left") as caught:
        wave(tiny_flow(CountingReader), run, SinkConfig(rows_per_shard=16))
    assert "start the same command again" in caught.value.remedy
    for path in run.shard_files():
        assert pq.read_table(path).num_rows, "what is visible is whole"
