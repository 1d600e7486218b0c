"""The keys that every job's config has, and the ones whose change would change the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from actors.contract import Pool, Settings
from pipelines.pages.fetch import FetchConfig
from pipelines.pages.sandbox import renderer_name
from pipelines.runs.shards import SinkConfig
from pipelines.secrets import sealed
from pipelines.sources.listing import SourceConfig
from pipelines.storage.objects import StorageSettings


class RayConfig(Settings):
    """The Ray cluster that executes the run."""

    affects_results = False

    address: str | None = Field(
        None,
        description="address of a running cluster ('auto', 'HOST:6379'); null: RAY_ADDRESS if set, "
        "else start a cluster on this machine",
    )
    num_cpus: int | None = Field(
        None, ge=1, description="cores of the cluster that the run starts; null: all"
    )
    num_gpus: int | None = Field(
        None,
        ge=0,
        description="GPUs of the cluster that the run starts; null: all. For a joined cluster that "
        "adds GPU nodes on demand: the GPUs that it may have; null: those that it has",
    )
    object_store_mb: int | None = Field(
        None, ge=80, description="MiB of shared memory of that cluster; null: Ray's default"
    )
    start_timeout_s: float = Field(
        300.0, gt=0, description="seconds until each pool must have a worker; else the run stops"
    )
    rows_per_wave: int = Field(
        250_000,
        ge=1,
        description="rows that go to Ray at once. Larger: the driver needs more memory (50 KB for "
        "each batch). Smaller: the pools restart more often (6 s plus model loading). Fixed when "
        "the manifest is written",
    )


class SameFailure(Settings):
    """How often one failure of the environment may occur within the last rows."""

    rows: int = Field(50, ge=1, description="rows with the same failure that stop the run, ...")
    within: int = Field(200, ge=1, description="... among this many rows")


class Limits(Settings):
    """When a run stops by itself, and how it stops after a signal."""

    affects_results = False

    same_failure: SameFailure | None = Field(
        SameFailure(),
        description="stop (exit code 10) if one failure of the environment fills so much of the "
        "last rows; their rows stay open. null: never",
    )
    max_failed_share: float | None = Field(
        0.2,
        ge=0,
        le=1,
        description="stop (exit code 10) if a larger share of the rows of this start has failed; "
        "null: never",
    )
    after: int = Field(500, ge=1, description="rows before max_failed_share counts")
    finish_s: float = Field(
        15.0,
        ge=0,
        description="seconds to finish the rows in flight after Ctrl-C, SIGTERM or SIGHUP; must be "
        "well below the time until the machine is gone (30 s on Kubernetes by default)",
    )


class Prices(Settings):
    """Prices per hour, in any currency; `nightjar plan` then estimates the cost."""

    affects_results = False

    cpu_hour: float = Field(0.0, ge=0, description="price of one core for an hour")
    gpu_hour: float = Field(0.0, ge=0, description="price of one GPU for an hour")
    currency: str = Field("USD", description="name of the currency; only printed")


class JobConfig(Settings):
    """Keys of every job's config."""

    operational = frozenset({"run_dir", "storage"})

    job: str = Field(
        description="a built-in job, or the import path of your own: package.module:NAME (default "
        "NAME: JOB). Its code runs here and in the workers, so both must be able to import it"
    )
    run_dir: str = Field(
        description="directory of this run, or a prefix in a bucket (s3://, gs://, az://); a "
        "second start continues it"
    )
    storage: StorageSettings | None = Field(
        None,
        description="access to run_dir, models and calibrations in buckets; null: as "
        "fetch.storage, but never anonymous",
    )
    source: SourceConfig
    fetch: FetchConfig = FetchConfig()
    fetch_pool: Pool = Field(
        Pool(num_cpus=0.25), description="workers that read documents and render pages"
    )
    sink: SinkConfig = SinkConfig()
    ray: RayConfig = RayConfig()
    limits: Limits = Limits()
    prices: Prices = Prices()

    @property
    def run_storage(self) -> StorageSettings:
        """Access to run_dir, models and calibrations."""
        return self.storage or self.fetch.storage.model_copy(update={"anonymous": False})


def result_keys(config: Settings, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> JSON value, of each key that can change the results of a run."""
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


def with_new_keys(recorded: Mapping[str, Any], config: Settings) -> dict[str, Any]:
    """The `result_keys` of an older run, with the defaults of keys that its version did not have.

    A new key's default is what older versions did. A key below one that is recorded (a group that
    was null) stays missing.
    """
    now = result_keys(config)
    return {
        key: value
        for key, value in _defaults(config).items()
        if key in now and not any(key.startswith(f"{one}.") for one in recorded)
    } | dict(recorded)


def _defaults(config: Settings, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> JSON value of its default, of each key that has one."""
    found: dict[str, Any] = {}
    for name, one in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Settings):
            found |= _defaults(value, f"{prefix}{name}.")
        elif not one.is_required():
            usual = one.get_default(call_default_factory=True, validated_data={})
            dumped = config.model_copy(update={name: usual}).model_dump(mode="json", include={name})
            found[prefix + name] = dumped[name]
    return found


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any], salt: str = "") -> list[str]:
    """``key: old -> new`` for each key of `result_keys` that differs.

    Of a key that holds a mapping, such as the classes of an ontology, only what differs in it is
    named: ``classes: 'bus' is new``, ``classes.car.threshold: 0.3 -> 0.4``. Secrets are compared,
    and shown, by their digests. `salt`: of the sealed side, if there is one.
    """
    before, now = sealed(before, salt), sealed(now, salt)
    return [
        line
        for key in sorted({*before, *now})
        for line in _changes(key, _or_empty(before, key, now), _or_empty(now, key, before))
    ]


def _or_empty(side: Mapping[str, Any], key: str, other: Mapping[str, Any]) -> Any:
    """The value of a key; of a key that this side lacks, an empty mapping if the other has one."""
    return side.get(key, {} if isinstance(other.get(key), Mapping) else None)


def _changes(key: str, before: Any, now: Any) -> list[str]:
    if _same_meaning(key, before) == _same_meaning(key, now):
        return []
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return [f"{key}: {before!r} -> {now!r}"]
    lines = []
    for name in [*now, *(name for name in before if name not in now)]:
        if name not in before and isinstance(now[name], Mapping):
            lines.append(f"{key}: {name!r} is new")
        elif name not in now and isinstance(before[name], Mapping):
            lines.append(f"{key}: {name!r} is gone")
        else:
            lines += _changes(f"{key}.{name}", before.get(name), now.get(name))
    return lines


def _same_meaning(key: str, value: Any) -> Any:
    """`value` as this version writes it; old run records have an older name of the renderer."""
    return renderer_name(value) if key.endswith("renderer") else value
