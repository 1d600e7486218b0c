"""A real Ray cluster that adds nodes on demand: Ray's autoscaler with its provider of fake nodes.

Every node is a raylet on this machine. `ray.cluster_utils.AutoscalingCluster` does the same, but
ends all Ray processes of the machine first (`ray stop --force`), and its template is in no wheel.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.util import get_node_ip_address
from ray_head import end_tree, free_ports

_RAY = Path(sys.executable).parent / "ray"
_START_S = 120.0
_MEMORY = 80 * 2**20
_NOTHING: dict[str, list[str]] = {
    key: []
    for key in (
        *("initialization_commands", "setup_commands", "head_setup_commands"),
        *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
        *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
    )
}


def _config(gcs: str, node: dict[str, float], most: int) -> dict[str, Any]:
    worker = {"resources": node | {"object_store_memory": _MEMORY}, "node_config": {}}
    return _NOTHING | {
        "cluster_name": "growing",
        "max_workers": most,
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": gcs,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": worker | {"min_workers": 0, "max_workers": most},
        },
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
    }


@contextmanager
def growing_cluster(node: dict[str, float], most: int) -> Iterator[str]:
    """The address of a head without CPUs; up to `most` nodes of these resources come on demand."""
    folder = Path(tempfile.mkdtemp(prefix="njg", dir="/tmp"))  # sockets allow 107 characters
    gcs, dashboard, client, agent = free_ports(4)
    address = f"{get_node_ip_address()}:{gcs}"
    (folder / "cluster.json").write_text(json.dumps(_config(address, node, most)))
    argv = [_RAY, "start", "--head", "--block", "--num-cpus=0", "--disable-usage-stats"]
    argv += [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--temp-dir={folder}"]
    argv += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    argv += ["--include-dashboard=false", f"--object-store-memory={_MEMORY}"]
    argv += [f"--autoscaling-config={folder / 'cluster.json'}"]
    env = dict(os.environ) | {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    log = folder / "start.log"
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, cwd="/", env=env)
    try:
        deadline = time.monotonic() + _START_S
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)
        yield address
    finally:
        end_tree(process)
        shutil.rmtree(folder, ignore_errors=True)
