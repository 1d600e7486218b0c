"""Joining a running cluster: its address, error remedies, and a check of the run directory.

Imports Ray only inside functions: `pipelines.run` calls `joined` before it imports Ray.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from pipelines.config import RayConfig
from pipelines.errors import OutputUnwritable

#: Most nodes that are checked for the run directory, and the seconds that they have to answer: a
#: worker process must start on each (2 s idle, 20 s under load).
_ASKED, _ANSWER_S = 32, 90.0


def joined(config: RayConfig) -> RayConfig:
    """`config` with the address in RAY_ADDRESS, unless it has one. Ray sets it for submitted jobs.

    An http:// address is ignored: it is a job server, which `ray job` takes from this variable.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if config.address or not address or address.startswith(("http://", "https://")):
        return config
    return config.model_copy(update={"address": address})


def remedy(error: Exception) -> str:
    """The remedy for an exception of `ray.init` while joining a cluster."""
    text = f"{type(error).__name__}: {error}"
    if "Version mismatch" in text:
        return (
            "use exactly the same versions of Ray and Python in the cluster's image, in the "
            "environment that starts the run, and in every py_executable"
        )
    if "uthentication" in text or "token" in text.lower():
        return (
            "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) to the values "
            "of the cluster"
        )
    return (
        "check ray.address and RAY_ADDRESS, and that the head node is up; from outside the "
        "cluster use nightjar submit"
    )


def check_reachable(run: Path) -> None:
    """Raise OutputUnwritable unless every node of the cluster reads and writes the same `run`.

    `run` exists on this machine. Workers write shards there, and this process renames them.
    """
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) > 1:
        strangers = _strangers(run, nodes[:_ASKED])
        if strangers:
            raise OutputUnwritable(
                f"run_dir {run} is not shared with {', '.join(strangers)} "
                f"({len(strangers)} of {len(nodes[:_ASKED])} checked nodes)",
                "put run_dir on s3://, gs:// or az://, or on a file system that every node mounts "
                "at this path",
            )


def _strangers(run: Path, nodes: list[dict[str, Any]]) -> list[str]:
    """Host names of the nodes that do not share `run` with this process.

    Each node must see a file of this process, and this process must see a file of the node.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = run / f".reach-{uuid.uuid4().hex}"
    mark.touch()
    try:
        asked = {}
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, max_retries=0)(_sees).options(scheduling_strategy=there)
            asked[task.remote(str(mark), node["NodeID"])] = node
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWER_S)
        return sorted(
            asked[task]["NodeManagerHostname"] for task in answered if not _agreed(task, mark)
        )
    finally:
        for left in run.glob(f"{mark.name}*"):
            left.unlink()


def _sees(mark: str, node: str) -> str:
    """Runs on a node. The name of the file that it created beside the mark; "" on failure."""
    answer = Path(f"{mark}-{node}")
    try:
        if not Path(mark).exists():
            return ""
        answer.touch()
    except OSError:
        return ""
    return answer.name


def _agreed(task: Any, mark: Path) -> bool:
    import ray

    try:
        name = ray.get(task)
    except ray.exceptions.RayError:
        return True  # the node is gone: no evidence about the directory
    return bool(name) and (mark.parent / name).exists()
