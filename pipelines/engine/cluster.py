"""Start, watch and end the Ray cluster of a run."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import psutil
import ray
from ray._private import ray_constants
from ray.data import DataContext

from pipelines.config import RayConfig
from pipelines.engine.joined_cluster import remedy
from pipelines.engine.scheduling import end_streams
from pipelines.engine.sizes.pools import _DEATHS_AT_START
from pipelines.engine.stopping import Stop, Stopped
from pipelines.errors import ClusterUnreachable

#: Milliseconds until Ray ends an idle process of our own cluster; must exceed the time per shard.
_IDLE_MS = 600_000


#: Seconds between two looks for a signal while Ray starts or ends.
_LOOK_S = 0.1


@contextmanager
def cluster(config: RayConfig, stop: Stop | None = None) -> Iterator[None]:
    """Connect to the cluster of the config, or run one on this machine until the block ends.

    Raises ClusterUnreachable, and Stopped if `stop` has a signal while Ray starts. After Stopped,
    and after the second signal, Ray is still there: end the process with `end_now`.
    """
    here, stop = config.address is None, stop or Stop()
    keeper = _Keeper(
        address="local" if here else config.address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        **(_own_settings(config) if here else {}),
    )
    with _on_loopback() if here else nullcontext():
        try:
            keeper.begin(stop)
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
            end_streams(stop)
            if not stop.at_once:
                workers = _workers() if here else []
                keeper.end(stop)
                _end(workers)


class _Keeper(threading.Thread):
    """Starts Ray, waits, and ends it; `settings`: arguments of `ray.init`.

    In the main thread `ray.init` installs a SIGTERM handler that exits with code 15. Ray's daemons
    end when the thread that started them ends, so one thread does all three.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(name="nightjar-ray", daemon=True)
        self._settings = settings
        self._error: Exception | None = None
        self._up, self._leave, self._down = (threading.Event() for _ in range(3))

    def begin(self, stop: Stop) -> None:
        """Start Ray. Raises the error of `ray.init`, or Stopped."""
        self.start()
        while not self._up.wait(_LOOK_S):
            if stop.signal is not None:
                raise Stopped(stop.signal)
        if self._error is not None:
            raise self._error

    def end(self, stop: Stop) -> None:
        """End Ray; do not wait for it after a second signal."""
        self._leave.set()
        while not (stop.at_once or self._down.wait(_LOOK_S)):
            pass

    def run(self) -> None:
        # A closed terminal sends SIGHUP to all processes, but only the driver must act on it.
        # Children inherit the mask. Ray does the same for SIGINT.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        logging.getLogger("ray._private.worker").setLevel(logging.ERROR)  # no handler: intended
        try:
            _started(**self._settings)
        except Exception as error:
            self._error = error
            return
        finally:
            self._up.set()
        self._leave.wait()
        try:
            ray.shutdown()
        finally:
            self._down.set()


def _own_settings(config: RayConfig) -> dict[str, Any]:
    """Arguments of `ray.init` for a cluster of our own."""
    return {
        "include_dashboard": False,
        "num_cpus": config.num_cpus,
        "num_gpus": config.num_gpus,
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
