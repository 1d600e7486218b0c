"""The one place that speaks to Ray Data: start a cluster, stream rows through a Flow.

Ray 2.60 traps that the settings below answer (measured, see FACTS): progress bars of its own, an
impossible resource request that hangs, and `concurrency=` / `ray_remote_args`, gone in 2.64.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from pipelines.board import Board
from pipelines.config import RayConfig
from pipelines.errors import ClusterUnreachable
from pipelines.flow import Flow, Stage
from pipelines.worker import RayBoardLink, StageWorker

#: Two tasks per worker: one runs, the next one's rows are already there.
_TASKS_IN_FLIGHT = 2
#: Seconds that an aborted stream's scheduling thread gets for what it is doing.
_LAST_LOOP_S = 10.0


@contextmanager
def cluster(config: RayConfig) -> Iterator[None]:
    """Connect to the cluster of the config, or hold one on this machine for as long as needed."""
    here = config.address is None
    memory = config.object_store_mb * 2**20 if config.object_store_mb else None
    local: dict[str, Any] = {
        "include_dashboard": False,
        "num_cpus": config.num_cpus,
        "object_store_memory": memory,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        ray.init(
            address="local" if here else config.address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(local if here else {}),
        )
    except Exception as error:
        raise ClusterUnreachable(
            f"Ray at {config.address or 'this machine'}: {error}",
            "check ray.address" if not here else "see /tmp/ray/session_latest/logs",
        ) from error
    try:
        _configure(config)
        yield
    finally:
        _end_streams()
        ray.shutdown()


def _end_streams() -> None:
    """End Ray Data's scheduling threads: they outlive a stream that nobody reads to its end.

    One that asks for a task's results when `ray.shutdown` is through meets a check in C++ that
    aborts the process (2.60, `TaskManager::PeekObjectRefStream`).
    """
    for thread in threading.enumerate():
        if isinstance(thread, StreamingExecutor):
            thread.shutdown(force=True)  # waits 2 s for the loop
            thread.join(_LAST_LOOP_S)


def _configure(config: RayConfig) -> None:
    context = DataContext.get_current()
    context.target_max_block_size = 32 * 2**20
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    context.wait_for_min_actors_s = int(config.start_timeout_s)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors reach us as exceptions


def sized(flow: Flow, config: RayConfig) -> Flow:
    """The flow with every open pool size settled. Raises ClusterUnreachable for the impossible."""
    there: dict[str, float] = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    open_ended = [s for s in flow.stages if s.pool.max_size is None]
    fixed = sum(s.pool.min_size * s.pool.num_cpus for s in flow.stages if s not in open_ended)
    stages = []
    for stage in flow.stages:
        if config.address is None:
            _check_fits(stage, cpus, gpus)
        if stage in open_ended:
            stage = _filled(stage, (cpus - fixed) / len(open_ended), gpus)
        stages.append(stage)
    return replace(flow, stages=tuple(stages))


def _filled(stage: Stage, cpus: float, gpus: float) -> Stage:
    pool = stage.pool
    fits = [cpus / pool.num_cpus] if pool.num_cpus else []
    fits += [gpus / pool.num_gpus] if pool.num_gpus else []
    size = max(pool.min_size, math.floor(min(fits)) if fits else 1)
    filled = pool.model_copy(update={"min_size": size, "max_size": size})
    return replace(stage, pool=filled)


def _check_fits(stage: Stage, cpus: float, gpus: float) -> None:
    pool = stage.pool
    for what, asked, there in (("GPU", pool.num_gpus, gpus), ("CPU", pool.num_cpus, cpus)):
        if asked * pool.min_size > there:
            raise ClusterUnreachable(
                f"{stage.name} asks for {pool.min_size} x {asked:g} {what}, "
                f"this machine has {there:g}",
                f"lower num_{what.lower()}s or min_size of its pool, or set ray.address",
            )


def start_board() -> Any:
    """The scoreboard actor of this run; it restarts, but nothing durable depends on it."""
    return ray.remote(Board).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()


def stream(flow: Flow, rows: pa.Table, board: Any) -> Iterator[Any]:
    """Ray's ref bundles with the finished rows, in no order. `rows`: manifest rows still to do.

    One block per batch of the first stage, made here instead of by `read_parquet` (3 to 37 s of
    footer readers, FACTS), and no filter or union (which ran the upstream twice, FACTS).
    """
    size = flow.stages[0].pool.batch_size
    blocks = [rows.slice(i, size).combine_chunks() for i in range(0, rows.num_rows, size)]
    dataset: ray.data.Dataset = ray.data.from_arrow(blocks)
    for stage in flow.stages:
        pool = stage.pool
        dataset = dataset.map_batches(
            StageWorker,
            fn_constructor_args=(stage, RayBoardLink(board)),
            batch_size=pool.batch_size,
            batch_format="pyarrow",
            zero_copy_batch=True,
            udf_modifying_row_count=False,
            compute=ActorPoolStrategy(
                min_size=pool.min_size,
                max_size=pool.max_size,
                max_tasks_in_flight_per_actor=pool.concurrency * _TASKS_IN_FLIGHT,
                max_concurrent_calls_per_actor=pool.concurrency,
                enable_true_multi_threading=pool.concurrency > 1,
            ),
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
            runtime_env={"py_executable": pool.py_executable} if pool.py_executable else None,
        )
    return dataset.iter_internal_ref_bundles()
