"""Start, watch and end the Ray cluster of a run."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import psutil
import ray
from ray._private import ray_constants
from ray.data import DataContext
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from pipelines.config import RayConfig
from pipelines.engine.joined_cluster import remedy
from pipelines.engine.pools import _DEATHS_AT_START
from pipelines.errors import ClusterUnreachable

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
