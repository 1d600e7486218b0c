"""GPUs of the pools: what `num_gpus: auto` becomes, and models whose pool asks for no GPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from actors.contract import Pool, Settings, device_of
from pipelines.engine.sizes.room import Room
from pipelines.errors import ClusterUnreachable, ConfigError, DeviceUnavailable
from pipelines.flow import Stage

#: Ray counts in steps of 0.0001.
_STEP = 10_000


def numbered(
    crews: Sequence[Sequence[Stage]], room: Room, config: Settings | None = None
) -> list[Pool]:
    """The pool of each crew, with a number for `num_gpus: auto`.

    `config`: the job's, so that messages can name its keys. Raises ConfigError or DeviceUnavailable
    if a model and its pool disagree about a GPU, ClusterUnreachable if none is left for `auto`.
    """
    for crew in crews:
        for stage in crew:
            _check(stage, room, config)
    automatic = [crew[0].pool.num_gpus == "auto" and _uses_gpu(crew) for crew in crews]
    share = _share(crews, automatic, room)
    return [
        crew[0].pool.model_copy(update={"num_gpus": share if auto else crew[0].pool.gpus})
        for crew, auto in zip(crews, automatic, strict=True)
    ]


def _uses_gpu(crew: Sequence[Stage]) -> bool:
    return any(device_of(stage.config) in ("auto", "cuda") for stage in crew)


def _share(crews: Sequence[Sequence[Stage]], automatic: Sequence[bool], room: Room) -> float:
    """GPUs for each worker of the automatic pools: equal parts of one, less if less is left."""
    names = [crew[0].name for crew, auto in zip(crews, automatic, strict=True) if auto]
    if not names or not room.gpus:
        return 0.0
    share = 1 / len(names)
    if not room.grows:
        pools = [(crew[0].pool, auto) for crew, auto in zip(crews, automatic, strict=True)]
        free = left(room.gpus, [(pool.min_size, pool.gpus) for pool, _ in pools])
        share = _largest(share, free or [], sum(pool.min_size for pool, auto in pools if auto))
    if share < 1 / _STEP:
        raise ClusterUnreachable(
            f"no GPU is left for {', '.join(names)}: other pools ask for all {room.gpus:g}",
            "lower num_gpus of these pools, or set it to auto",
        )
    return math.floor(share * _STEP) / _STEP


def _largest(most: float, free: Sequence[float], workers: int) -> float:
    """The largest share up to `most` of which `workers` fit into the `free` parts of GPUs."""
    possible = {min(most, part / n) for part in free for n in range(1, workers + 1) if part > 0}
    for share in sorted(possible, reverse=True):
        if sum(math.floor(part / share + 1e-6) for part in free) >= workers:
            return share
    return 0.0


def left(gpus: float, asked: Iterable[tuple[int, float]]) -> list[float] | None:
    """The free part of each GPU with the workers in place; None if they do not fit.

    asked: (workers, GPUs of each). A part of a GPU is always a part of one.
    """
    free = [1.0] * int(gpus)
    each = [share for workers, share in asked for _ in range(workers) if share]
    for share in sorted(each, reverse=True):
        if share > 1:
            whole = [i for i, part in enumerate(free) if part == 1.0][: math.ceil(share)]
            if len(whole) < share:
                return None
            for i in whole:
                free[i] = 0.0
            continue
        place = next((i for i, part in enumerate(free) if part >= share - 1e-6), None)
        if place is None:
            return None
        free[place] -= share
    return free


def _check(stage: Stage, room: Room, config: Settings | None) -> None:
    """Raise if the model of a pool without GPUs wants one."""
    device, pool = device_of(stage.config), stage.pool
    if device in (None, "cpu") or pool.gpus:
        return
    named = _key(config, stage.config) or f"the settings of {stage.name}"
    on_cpu = f"{named}.device: cpu"
    if "device" not in type(stage.config).model_fields:
        on_cpu = f"another engine in {named}"
    if not room.gpus and device == "cuda":
        more = ", or ray.num_gpus if it adds GPU nodes on demand" if room.grows else ""
        raise DeviceUnavailable(
            f"{stage.name} needs a GPU, but {room.name} has none", f"set {on_cpu}{more}"
        )
    if room.gpus and pool.num_gpus != "auto":
        workers = _key(config, pool) or f"the pool of {stage.name}"
        raise ConfigError(
            f"{stage.name} would use a GPU (device: {device}), but {workers} asks for none, and "
            f"{room.name} has {room.gpus:g}",
            f"set {workers}.num_gpus: auto to use a GPU, or {on_cpu} to use none",
        )


def _key(config: Settings | None, value: Settings) -> str | None:
    """The key of `config` that holds `value` itself."""
    return next((name for name, one in config or () if one is value), None)
