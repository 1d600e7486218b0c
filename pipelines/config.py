"""Config files: pydantic models in YAML, unknown keys refused with the nearest name suggested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from actors.contract import Pool, Settings
from pipelines.pages.fetch import FetchConfig
from pipelines.pages.sandbox import renderer_name
from pipelines.runs.shards import SinkConfig
from pipelines.sources.listing import SourceConfig
from pipelines.storage.objects import StorageSettings


class RayConfig(Settings):
    """Where the run executes."""

    affects_results = False

    address: str | None = Field(
        None,
        description="address of a running cluster ('auto', 'HOST:6379'); null: RAY_ADDRESS, else a "
        "cluster of its own on this machine",
    )
    num_cpus: int | None = Field(None, ge=1, description="cores of its own cluster; null: all")
    object_store_mb: int | None = Field(
        None, ge=80, description="shared memory of its own cluster; null: as Ray chooses"
    )
    start_timeout_s: float = Field(
        300.0, gt=0, description="give up when no worker of a pool has started by then"
    )
    rows_per_wave: int = Field(
        250_000,
        ge=1,
        description="rows handed to Ray at once: the driver holds 50 KB for each batch of them, "
        "and each wave starts its worker pools anew (6 s and what the models take to load); "
        "settled when the manifest is planned",
    )


class Prices(Settings):
    """What an hour costs, in any currency; the plan then names a price."""

    affects_results = False

    cpu_hour: float = Field(0.0, ge=0, description="price of one core for an hour")
    gpu_hour: float = Field(0.0, ge=0, description="price of one GPU for an hour")
    currency: str = Field("USD", description="only printed")


class JobConfig(Settings):
    """What every job's config has."""

    operational = frozenset({"run_dir", "storage"})

    job: str = Field(
        description="a built-in job, or the import path of your own: package.module:NAME, NAME is "
        "JOB if left out. Its code runs here and in the workers, which must be able to import it"
    )
    run_dir: str = Field(
        description="directory of this run, or s3://bucket/prefix; started again, it goes on"
    )
    storage: StorageSettings | None = Field(
        None,
        description="how run_dir, models and calibrations on s3:// are reached; null: as "
        "fetch.storage, but never anonymous",
    )
    source: SourceConfig
    fetch: FetchConfig = FetchConfig()
    fetch_pool: Pool = Field(
        Pool(num_cpus=0.25), description="workers that read documents and render pages"
    )
    sink: SinkConfig = SinkConfig()
    ray: RayConfig = RayConfig()
    prices: Prices = Prices()

    @property
    def run_storage(self) -> StorageSettings:
        """How run_dir, models and calibrations are reached."""
        return self.storage or self.fetch.storage.model_copy(update={"anonymous": False})


def result_keys(config: Settings, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> JSON value of everything that can change what a run writes."""
    found: dict[str, Any] = {}
    if not config.affects_results:
        return found
    dumped = config.model_dump(mode="json")
    for name in type(config).model_fields:
        if name in config.operational:
            continue
        value = getattr(config, name)
        if isinstance(value, Settings):
            found |= result_keys(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = dumped[name]
    return found


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``key: old -> new`` for each result-relevant key that differs."""
    return [
        f"{key}: {before.get(key)!r} -> {now.get(key)!r}"
        for key in sorted({*before, *now})
        if _same_meaning(key, before.get(key)) != _same_meaning(key, now.get(key))
    ]


def _same_meaning(key: str, value: Any) -> Any:
    """`value` as this version writes it: old run records name the renderer by its old module."""
    return renderer_name(value) if key.endswith("renderer") else value
