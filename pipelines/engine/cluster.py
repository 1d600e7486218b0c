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

#: Milliseconds until Ray ends an idle process of our own cluster; must exceed the time per shard.
_IDLE_MS = 600_000

#: Seconds that the scheduling thread of an aborted stream gets to finish.
_LAST_LOOP_S = 10.0


@contextmanager
def cluster(config: RayConfig) -> Iterator[None]:
    """Connect to the cluster of the config, or run one on this machine until the block ends.

    Raises ClusterUnreachable.
    """
    here = config.address is None
    with _on_loopback() if here else nullcontext():
        try:
            _started(
                address="local" if here else config.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(_own_settings(config) if here else {}),
            )
        except Exception as error:
            raise ClusterUnreachable(
                f"cannot start or join Ray at {config.address or 'this machine'}: {error}",
                "read the logs in /tmp/ray/session_latest/logs" if here else remedy(error),
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


def _own_settings(config: RayConfig) -> dict[str, Any]:
    """Arguments of `ray.init` for a cluster of our own."""
    return {
        "include_dashboard": False,
        "num_cpus": config.num_cpus,
        "object_store_memory": config.object_store_mb * 2**20 if config.object_store_mb else None,
        # By default Ray ends a process that is idle for 1 s. Each shard then needed a new process,
        # which costs 2 to 3 s of CPU for imports.
        # Task events are for the dashboard, which is off. Ray's GCS kept growing because of them.
        "_system_config": {
            "idle_worker_killing_time_threshold_ms": _IDLE_MS,
            "task_events_report_interval_ms": 0,
        },
    }


def _started(**how: Any) -> None:
    """`ray.init` with two retries: Ray gives a node 30 s to start, too little on a busy machine."""
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
    """End three processes of our own cluster that a run does not need.

    They forward workers' output to the driver (off), request nodes from a cloud, and serve the
    dashboard (off). They are still importing when `ray.init` returns.
    """
    node: Any = ray._private.worker._global_node
    node.kill_log_monitor(check_alive=False)
    node.kill_monitor(check_alive=False)
    node.kill_dashboard(check_alive=False)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Bind Ray's servers to 127.0.0.1, as on macOS, instead of to all interfaces.

    `_node_ip_address="127.0.0.1"` does not work: Ray 2.60 replaces it by the machine's address
    (`resolve_ip_for_localhost`), and 36 sockets then listened on `::`.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False  # for children; for us
    try:
        yield
    finally:
        os.environ.pop(name)
        if before[0] is not None:
            os.environ[name] = before[0]
        ray_constants.ENABLE_RAY_CLUSTER = before[1]


def check_alive() -> None:
    """Raise ClusterUnreachable if a daemon of our own cluster has ended.

    Ray 2.60 reports nothing; about 10 s later its C++ code ends this process with exit code 1.
    """
    node: Any = ray._private.worker._global_node
    ended: set[str] = {name for name, _ in node.dead_processes()} if node else set()
    for name in sorted(ended & {"raylet", "gcs_server"}):
        raise ClusterUnreachable(
            f"Ray's process {name} on this machine has ended",
            "start the same command again; committed rows are kept. To find the cause, read dmesg "
            "(out of memory?) and /tmp/ray/session_latest/logs",
        )


def _end_streams() -> None:
    """End Ray Data's scheduling threads, which outlive a stream that is not read to its end.

    If such a thread asks for a task's results after `ray.shutdown`, a check in C++ aborts this
    process (Ray 2.60, `TaskManager::PeekObjectRefStream`).
    """
    for thread in threading.enumerate():
        if isinstance(thread, StreamingExecutor):
            thread.shutdown(force=True)  # waits 2 s for the loop
            thread.join(_LAST_LOOP_S)


def _workers() -> list[psutil.Process]:
    """The child processes of the raylet of our own cluster."""
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
    """End the workers that are left after their cluster has shut down.

    In Ray 2.60 a worker can hang on a destroyed lock as it exits (`~Publisher` under
    `~io_context`). 2 of 15 labelling runs left a process of 1.3 GB behind for good.
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
    # By default Ray starts a pool only when the previous pool is up: 29 s until a labelling run
    # reads its first image on two cores. `waves.Starting` waits for the pools instead.
    context.wait_for_min_actors_s = -1
    context.max_consecutive_actor_init_deaths = _DEATHS_AT_START
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised as exceptions
