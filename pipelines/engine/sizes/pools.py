"""Sizes of worker pools. Pools without max_size share what is there; impossible pools raise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.contract import Pool, Settings
from pipelines.config import RayConfig
from pipelines.engine.environments import runtime_env
from pipelines.engine.sizes import gpus
from pipelines.engine.sizes.room import Room, of_cluster
from pipelines.errors import ClusterUnreachable
from pipelines.flow import Flow, Stage

#: Consecutive deaths of a pool's workers while they load (a spot node is reclaimed) until the run
#: stops; before that, each worker is replaced. An error of the model itself stops the run at once.
_DEATHS_AT_START = 3

#: 2.9999999 workers are three.
_ROUNDING = 1e-6


def sized(
    flow: Flow,
    config: RayConfig,
    rows: int | None = None,
    job: Settings | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Flow:
    """`fitted` for the cluster that this process is connected to.

    Raises ConfigError if an environment is missing, and what `fitted` raises.
    """
    for stage in flow.stages:
        runtime_env(stage.pool)
    return fitted(flow, of_cluster(config), rows, job, seconds)


def fitted(
    flow: Flow,
    room: Room,
    rows: int | None = None,
    job: Settings | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Flow:
    """The flow with a number for every `num_gpus: auto`, and with sizes for the open pools.

    On this machine an open pool gets a fixed size. On a joined cluster `min_size` stays, and Ray
    adds workers while there is room; `max_size` is then the number of batches.

    Args:
        flow: its open pools are those with max_size None.
        room: what there is to share.
        rows: rows to process; no open pool gets more workers than batches.
        job: the job's config; messages then name its keys.
        seconds: stage -> busy seconds per row, if known for all; GPUs and cores are shared by them.

    Raises ClusterUnreachable if the pools do not fit, ConfigError or DeviceUnavailable if a model
    and its pool disagree about a GPU.
    """
    crews = flow.crews()
    asks = [
        _Ask(crew[0].name, pool, _batches(pool, rows), _seconds(crew, seconds or {}))
        for crew, pool in zip(crews, gpus.numbered(crews, room, job), strict=True)
    ]
    if room.grows:
        pools = [_growing(ask) for ask in asks]
    else:
        for ask in asks:
            _check_fits(ask.name, ask.pool, room)
        pools = _filled(asks, room)
        _check_together({a.name: pool for a, pool in zip(asks, pools, strict=True)}, room)
    stages = [replace(s, pool=p) for crew, p in zip(crews, pools, strict=True) for s in crew]
    return replace(flow, stages=tuple(stages))


def measured(sessions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Stage -> busy seconds per row, of the last session in run.json that has them."""
    for session in reversed(sessions):
        stages = session.get("stages") or {}
        if stages and all(one.get("rows") for one in stages.values()):
            return {name: one["busy_s"] / one["rows"] for name, one in stages.items()}
    return {}


@dataclass(frozen=True)
class _Ask:
    """What a crew wants. most: workers at most; seconds: per row and worker, None if unknown."""

    name: str
    pool: Pool
    most: float
    seconds: float | None

    @property
    def open(self) -> bool:
        return self.pool.max_size is None


def _batches(pool: Pool, rows: int | None) -> float:
    most = math.inf if rows is None else max(math.ceil(rows / pool.batch_size), pool.min_size)
    return min(most, pool.max_size or math.inf)


def _seconds(crew: Sequence[Stage], seconds: Mapping[str, float]) -> float | None:
    known = [seconds.get(stage.name, 0.0) for stage in crew]
    return sum(known) if all(known) else None


def _growing(ask: _Ask) -> Pool:
    if not ask.open or math.isinf(ask.most):
        return ask.pool
    return ask.pool.model_copy(update={"max_size": int(ask.most)})


def _filled(asks: Sequence[_Ask], room: Room) -> list[Pool]:
    """The pools, the open ones as large as the GPUs and then the cores allow."""
    limits = _by_gpus(asks, room.gpus)
    opened = [ask for ask in asks if ask.open]
    fixed = sum(ask.pool.min_size * ask.pool.num_cpus for ask in asks if not ask.open)
    # A single worker takes less than it asks for if the machine is small: see `_squeezed`.
    low = [a.pool.min_size * a.pool.num_cpus if a.pool.min_size > 1 else 0.0 for a in opened]
    high = [limits[ask.name] * ask.pool.num_cpus if ask.pool.num_cpus else 0.0 for ask in opened]
    weights = _weights(opened, [ask.pool.num_cpus for ask in opened])
    shares = divided(room.cpus - fixed, weights, low, high)
    sizes = {
        ask.name: _of_size(ask.pool, cores, limits[ask.name])
        for ask, cores in zip(opened, shares, strict=True)
    }
    return [sizes.get(ask.name, ask.pool) for ask in asks]


def _by_gpus(asks: Sequence[_Ask], there: float) -> dict[str, float]:
    """Name -> workers that its share of the GPUs, and its rows, allow."""
    using = [ask for ask in asks if ask.pool.gpus]
    opened, fixed = [a for a in using if a.open], [a for a in using if not a.open]
    low = [ask.pool.min_size * _slot(ask.pool) for ask in opened]
    # Room for the largest size of the fixed pools, unless an open pool would have none.
    taken = sum(ask.most * _slot(ask.pool) for ask in fixed)
    if taken + sum(low) > there + _ROUNDING:
        taken = sum(ask.pool.min_size * _slot(ask.pool) for ask in fixed)
    high = [ask.most * _slot(ask.pool) for ask in opened]
    weights = _weights(opened, [_slot(ask.pool) for ask in opened])
    shares = divided(there - taken, weights, low, high)
    found = {
        ask.name: math.floor(share / _slot(ask.pool) + _ROUNDING)
        for ask, share in zip(opened, shares, strict=True)
    }
    return {ask.name: found.get(ask.name, ask.most) for ask in asks}


def _slot(pool: Pool) -> float:
    """The GPUs that a worker blocks: two workers of 0.4 block one GPU, and so do three of 0.33."""
    return 1 / math.floor(1 / pool.gpus + _ROUNDING) if pool.gpus < 1 else pool.gpus


def _weights(asks: Sequence[_Ask], each: Sequence[float]) -> list[float]:
    """Equal weights; with measured times, such that all stages finish together."""
    if any(ask.seconds is None for ask in asks):
        return [1.0] * len(asks)
    return [(ask.seconds or 0.0) * one for ask, one in zip(asks, each, strict=True)]


def divided(
    total: float, weights: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> list[float]:
    """Shares of `total` in proportion to the weights, each within its bounds.

    What a share cannot take goes to the others. The sum is less if all reach `high`, more if `low`
    asks for more.
    """

    def at(level: float) -> list[float]:
        return [
            max(a, min(level * weight, b)) for weight, a, b in zip(weights, low, high, strict=True)
        ]

    empty, full = 0.0, max([total, 0.0, *(total / weight for weight in weights if weight)])
    for _ in range(60):
        level = (empty + full) / 2
        if sum(at(level)) > total:
            full = level
        else:
            empty = level
    return at(empty)


def _of_size(pool: Pool, cores: float, most: float) -> Pool:
    size = math.floor(cores / pool.num_cpus + _ROUNDING) if pool.num_cpus else most
    size = max(pool.min_size, 1 if math.isinf(size) else int(min(size, most)))
    filled = pool.model_copy(update={"min_size": size, "max_size": size})
    return _squeezed(filled, cores)


def _squeezed(pool: Pool, cpus: float) -> Pool:
    """Reduce the reservation of a single worker to the cores that are left.

    A reservation limits the number of workers, not their use of cores. In a flow with several
    readers on two cores, one worker too many is better than a reader without a worker.
    """
    if pool.min_size > 1 or not 0 < cpus < pool.num_cpus - _ROUNDING:
        return pool
    share = math.floor(cpus * 100 + _ROUNDING) / 100
    return pool.model_copy(update={"num_cpus": share})


def _check_fits(name: str, pool: Pool, room: Room) -> None:
    for what, asked, there in (("GPU", pool.gpus, room.gpus), ("CPU", pool.num_cpus, room.cpus)):
        if asked * pool.min_size > there:
            raise ClusterUnreachable(
                f"{name} needs {pool.min_size} x {asked:g} {what}, but {room.name} has {there:g}",
                f"lower num_{what.lower()}s or min_size of its pool, or set ray.address",
            )


def _check_together(pools: Mapping[str, Pool], room: Room) -> None:
    """Raise ClusterUnreachable if the pools do not fit together: the last would never start."""
    cpus = {name: pool.min_size * pool.num_cpus for name, pool in pools.items()}
    if sum(cpus.values()) > room.cpus + _ROUNDING:
        raise _too_much(
            "CPU", cpus, room.cpus, "lower num_cpus of some pools (a reservation, not a limit)"
        )
    if gpus.left(room.gpus, [(pool.min_size, pool.gpus) for pool in pools.values()]) is None:
        asked = {name: pool.min_size * pool.gpus for name, pool in pools.items() if pool.gpus}
        raise _too_much("GPU", asked, room.gpus, "set num_gpus: auto, so that models share a GPU")


def _too_much(
    what: str, asked: Mapping[str, float], there: float, remedy: str
) -> ClusterUnreachable:
    each = ", ".join(f"{name} {share:g}" for name, share in asked.items())
    return ClusterUnreachable(
        f"the pools need {sum(asked.values()):g} {what} together ({each}), "
        f"but this machine has {there:g}",
        f"{remedy}, or set ray.address",
    )
