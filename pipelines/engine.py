"""The one place that speaks to Ray Data: start a cluster, stream rows through a Flow.

Ray 2.60 traps that the settings below answer (measured, see FACTS): progress bars of its own, an
impossible resource request that hangs, and `concurrency=` / `ray_remote_args`, gone in 2.64.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

import psutil
import pyarrow as pa
import ray
from ray._private import ray_constants
from ray.data import ActorPoolStrategy, DataContext
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from pipelines.board import Board
from pipelines.config import RayConfig
from pipelines.environments import runtime_env
from pipelines.errors import ClusterUnreachable
from pipelines.flow import Flow, Stage
from pipelines.joining import remedy
from pipelines.metrics import BatchMetrics, Meter
from pipelines.worker import CrewWorker, RayBoardLink

#: Two tasks per worker: one runs, the next one's rows are already there.
_TASKS_IN_FLIGHT = 2
#: Workers of a pool that may die in a row while they load (a spot node taken back): each is
#: replaced. What a model itself says against starting ends the run at once.
_DEATHS_AT_START = 3
#: Milliseconds that a process of our own cluster waits for work: longer than between two shards.
_IDLE_MS = 600_000
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
        # Ray ends a process that had nothing to do for a second. Every shard was written by a new
        # one, for 2 to 3 s of CPU of imports.
        # Events of tasks are for a dashboard, which is off: Ray's GCS grew by them for hours.
        "_system_config": {
            "idle_worker_killing_time_threshold_ms": _IDLE_MS,
            "task_events_report_interval_ms": 0,
        },
    }
    with _on_loopback() if here else nullcontext():
        try:
            _started(
                address="local" if here else config.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(local if here else {}),
            )
        except Exception as error:
            raise ClusterUnreachable(
                f"Ray at {config.address or 'this machine'}: {error}",
                "see /tmp/ray/session_latest/logs" if here else remedy(error),
            ) from error
        try:
            _configure(config)
            if here:
                _end_idle_daemons()
            yield
        finally:
            _end_streams()
            workers = _workers() if here else []
            ray.shutdown()
            _end(workers)


def _started(**how: Any) -> None:
    """`ray.init`, again where Ray gave a node of its own 30 s that a busy machine did not have."""
    for last in (False, False, True):
        try:
            ray.init(**how)
        except Exception as error:
            if last or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
        else:
            return


def _end_idle_daemons() -> None:
    """End those of our own cluster's processes that have nothing to do in a run.

    One forwards the workers' output to the driver (`log_to_driver` is off), one asks a cloud for
    nodes, one serves the dashboard that is off. They are still importing when `ray.init` returns.
    """
    node: Any = ray._private.worker._global_node
    node.kill_log_monitor(check_alive=False)
    node.kill_monitor(check_alive=False)
    node.kill_dashboard(check_alive=False)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Ray's servers bind to 127.0.0.1, as they do on a Mac, instead of to every interface.

    `_node_ip_address="127.0.0.1"` does not do it: 2.60 puts the machine's own address in its place
    (`resolve_ip_for_localhost`), and 36 sockets then listened on `::`.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False  # Ray's processes, this one
    try:
        yield
    finally:
        os.environ.pop(name)
        if before[0] is not None:
            os.environ[name] = before[0]
        ray_constants.ENABLE_RAY_CLUSTER = before[1]


def check_alive() -> None:
    """Raises ClusterUnreachable if a daemon of our own cluster has ended.

    Ray says nothing, and ends this process in C++ with exit code 1 some ten seconds later (2.60).
    """
    node: Any = ray._private.worker._global_node
    ended: set[str] = {name for name, _ in node.dead_processes()} if node else set()
    for name in sorted(ended & {"raylet", "gcs_server"}):
        raise ClusterUnreachable(
            f"Ray's {name} on this machine has ended",
            "what is committed is kept; start the same command again. Was it the kernel, for want "
            "of memory? See dmesg and /tmp/ray/session_latest/logs",
        )


def _end_streams() -> None:
    """End Ray Data's scheduling threads: they outlive a stream that nobody reads to its end.

    One that asks for a task's results when `ray.shutdown` is through meets a check in C++ that
    aborts the process (2.60, `TaskManager::PeekObjectRefStream`).
    """
    for thread in threading.enumerate():
        if isinstance(thread, StreamingExecutor):
            thread.shutdown(force=True)  # waits 2 s for the loop
            thread.join(_LAST_LOOP_S)


def _workers() -> list[psutil.Process]:
    """The processes below the raylet of our own cluster."""
    node: Any = ray._private.worker._global_node
    raylets = node.all_processes.get(ray_constants.PROCESS_TYPE_RAYLET, ()) if node else ()
    with suppress(psutil.NoSuchProcess):
        return [
            child
            for raylet in raylets
            for child in psutil.Process(raylet.process.pid).children(recursive=True)
        ]
    return []


def _end(workers: Sequence[psutil.Process]) -> None:
    """End what is left of them, once their cluster is gone.

    A worker that exits because its pool has nothing left may meet a lock in C++ that is gone
    already (2.60, `~Publisher` under `~io_context`; 2 of 15 labelling runs left one) and then stays
    for ever: 1.3 GB with two models.
    """
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def _configure(config: RayConfig) -> None:
    context = DataContext.get_current()
    context.target_max_block_size = 32 * 2**20
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    # Ray would start the pools one after the other, each when the one before is up: 29 s until a
    # labelling run reads its first image on two cores. `waves.Starting` does the waiting.
    context.wait_for_min_actors_s = -1
    context.max_consecutive_actor_init_deaths = _DEATHS_AT_START
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors reach us as exceptions


def sized(flow: Flow, config: RayConfig, rows: int | None = None) -> Flow:
    """The flow with every open pool size settled: no more workers than `rows` make batches.

    Raises ClusterUnreachable for the impossible, ConfigError for an environment that is not there.
    """
    there: dict[str, float] = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    crews = flow.crews()
    open_ended = [s for s, *_ in crews if s.pool.max_size is None]
    fixed = sum(s.pool.min_size * s.pool.num_cpus for s, *_ in crews if s not in open_ended)
    stages: list[Stage] = []
    for stage, *others in crews:
        runtime_env(stage.pool)
        if config.address is None:
            _check_fits(stage, cpus, gpus)
        if stage in open_ended:
            share = (cpus - fixed) / len(open_ended)
            stage = _filled(stage, share, gpus, rows)
            if config.address is None:
                stage = _squeezed(stage, share)
        stages += [stage, *(replace(other, pool=stage.pool) for other in others)]
    if config.address is None:
        _check_together([stage for stage in stages if not stage.shares], cpus)
    return replace(flow, stages=tuple(stages))


def _filled(stage: Stage, cpus: float, gpus: float, rows: int | None) -> Stage:
    pool = stage.pool
    fits = [cpus / pool.num_cpus] if pool.num_cpus else []
    fits += [gpus / pool.num_gpus] if pool.num_gpus else []
    size = math.floor(min(fits)) if fits else 1
    if rows is not None:
        size = min(size, math.ceil(rows / pool.batch_size))
    size = max(pool.min_size, size)
    filled = pool.model_copy(update={"min_size": size, "max_size": size})
    return replace(stage, pool=filled)


def _squeezed(stage: Stage, cpus: float) -> Stage:
    """An open pool that has less than one worker's cores left reserves what there is.

    A reservation only keeps workers apart, it binds nothing: better one reader too many on two
    cores than none of them, when a flow has several readers.
    """
    pool = stage.pool
    if pool.min_size > 1 or not 0 < cpus < pool.num_cpus:
        return stage
    share = math.floor(cpus * 100) / 100
    return replace(stage, pool=pool.model_copy(update={"num_cpus": share}))


def _check_fits(stage: Stage, cpus: float, gpus: float) -> None:
    pool = stage.pool
    for what, asked, there in (("GPU", pool.num_gpus, gpus), ("CPU", pool.num_cpus, cpus)):
        if asked * pool.min_size > there:
            raise ClusterUnreachable(
                f"{stage.name} asks for {pool.min_size} x {asked:g} {what}, "
                f"this machine has {there:g}",
                f"lower num_{what.lower()}s or min_size of its pool, or set ray.address",
            )


def _check_together(stages: Sequence[Stage], cpus: float) -> None:
    """Raise ClusterUnreachable if there is no room for all pools: the last would never start."""
    asked = {stage.name: stage.pool.min_size * stage.pool.num_cpus for stage in stages}
    if sum(asked.values()) > cpus + 1e-6:
        each = ", ".join(f"{name} {share:g}" for name, share in asked.items())
        raise ClusterUnreachable(
            f"the pools ask for {sum(asked.values()):g} CPU together ({each}), "
            f"this machine has {cpus:g}",
            "lower num_cpus of some: it reserves cores and does not bind; or set ray.address",
        )


def start_board(run: str = "") -> Any:
    """The scoreboard actor of this run; it restarts, but nothing durable depends on it.

    `run`: a name to publish metrics under; none are published without.
    """
    board = ray.remote(Board).options(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    return board.remote(BatchMetrics(Meter(run)) if run else None)


def stream(flow: Flow, rows: pa.Table, board: Any) -> Iterator[Any]:
    """Ray's ref bundles with the finished rows, in no order. `rows`: manifest rows still to do.

    One block per batch of the first stage, made here instead of by `read_parquet` (3 to 37 s of
    footer readers, FACTS), and no filter or union (which ran the upstream twice, FACTS).
    """
    size = flow.stages[0].pool.batch_size
    blocks = [rows.slice(i, size).combine_chunks() for i in range(0, rows.num_rows, size)]
    # `from_arrow` asks a task for the number of rows of each block: 2 s of imports in two processes
    # before anything starts, and 11 s for the 6,250 blocks of 100,000 rows.
    dataset: ray.data.Dataset = ray.data.from_blocks(blocks)
    for crew in flow.crews():
        pool = crew[0].pool
        dataset = dataset.map_batches(
            CrewWorker,
            fn_constructor_args=(crew, RayBoardLink(board)),
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
            runtime_env=runtime_env(pool),
        )
    return dataset.iter_internal_ref_bundles()
