"""Sizes of worker pools. Pools without max_size share the cores; pools that cannot fit raise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import ray

from pipelines.config import RayConfig
from pipelines.engine.environments import runtime_env
from pipelines.errors import ClusterUnreachable
from pipelines.flow import Flow, Stage

#: Consecutive deaths of a pool's workers while they load (a spot node is reclaimed) until the run
#: stops; before that, each worker is replaced. An error of the model itself stops the run at once.
_DEATHS_AT_START = 3


def sized(flow: Flow, config: RayConfig, rows: int | None = None) -> Flow:
    """The flow with a fixed size for every pool; no pool has more workers than batches in `rows`.

    Raises ClusterUnreachable if the pools do not fit, ConfigError if an environment is missing.
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
    """Reduce the reservation of a single worker to the cores that are left.

    A reservation limits the number of workers, not their use of cores. In a flow with several
    readers on two cores, one worker too many is better than a reader without a worker.
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
                f"{stage.name} needs {pool.min_size} x {asked:g} {what}, "
                f"but this machine has {there:g}",
                f"lower num_{what.lower()}s or min_size of its pool, or set ray.address",
            )


def _check_together(stages: Sequence[Stage], cpus: float) -> None:
    """Raise ClusterUnreachable if the pools do not fit together: the last would never start."""
    asked = {stage.name: stage.pool.min_size * stage.pool.num_cpus for stage in stages}
    if sum(asked.values()) > cpus + 1e-6:
        each = ", ".join(f"{name} {share:g}" for name, share in asked.items())
        raise ClusterUnreachable(
            f"the pools need {sum(asked.values()):g} CPU together ({each}), "
            f"but this machine has {cpus:g}",
            "lower num_cpus of some pools (a reservation, not a limit), or set ray.address",
        )
