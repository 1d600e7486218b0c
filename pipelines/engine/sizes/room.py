"""What a cluster has: the CPUs and GPUs that the worker pools are sized for."""

from __future__ import annotations

import os
from dataclasses import dataclass

from actors.contract import device_of
from pipelines.config import RayConfig
from pipelines.flow import Flow


@dataclass(frozen=True)
class Room:
    """CPUs and GPUs of a cluster.

    grows: the run has joined it. It may get nodes, and others may use it: Ray sets the sizes.
    """

    cpus: float
    gpus: float
    grows: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return "the cluster" if self.grows else "this machine"


def of_cluster(config: RayConfig) -> Room:
    """The cluster that this process is connected to."""
    import ray

    there: dict[str, float] = ray.cluster_resources()
    gpus = there.get("GPU", 0.0)
    if config.address and config.num_gpus is not None:
        gpus = config.num_gpus
    return Room(there.get("CPU", 0.0), gpus, grows=config.address is not None)


def of_machine(config: RayConfig, flow: Flow) -> Room:
    """The cluster that a run of `flow` would start on this machine, found without Ray."""
    gpus = config.num_gpus
    if gpus is None and any(device_of(one.config) in ("auto", "cuda") for one in flow.stages):
        import torch

        gpus = torch.cuda.device_count()
    return Room(config.num_cpus or os.cpu_count() or 1, gpus or 0)
