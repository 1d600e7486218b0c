"""Flow: a dataflow as a list of stages. Columns and types are checked when it is built.

    flow = (Flow(MANIFEST)
        .through(PageFetcher, cfg.fetch, cfg.fetch_pool)
        .through(RapidOcr, cfg.ocr, cfg.ocr_pool)
        .map(settle, cfg.routing)
        .drop("image"))

`through` adds a model with its own workers, `map` a pure function, `drop` removes columns, `rename`
frees a name for a later stage. Pure functions, drops and renames run in the workers of the stage
before them: page images leave the object store early, and a millisecond of work costs no transfer
between processes. A model with pool None runs there too, so the workers of the two models never
wait for each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from actors.contract import Actor, Pool, Settings
from pipelines.errors import SchemaMismatch
from pipelines.storage.objects import SCHEMES, Here

if TYPE_CHECKING:
    from pipelines.storage.objects import StorageSettings


@dataclass(frozen=True)
class Step:
    """A pure function over a batch: same rows, same order, `writes` appended."""

    name: str
    reads: pa.Schema
    writes: pa.Schema
    run: Callable[[pa.Table, Any], pa.Table]


def step(*, reads: pa.Schema, writes: pa.Schema) -> Callable[[Callable[..., pa.Table]], Step]:
    """Declare the columns of a pure step: ``@step(reads=..., writes=...)`` above its function."""

    def declare(run: Callable[..., pa.Table]) -> Step:
        return Step(run.__name__, reads, writes, run)

    return declare


@dataclass(frozen=True)
class BoundStep:
    """A step with its settings, or a drop or rename of columns (``step`` is None).

    `renamed`: pairs of the old and the new name.
    """

    step: Step | None
    settings: Settings | None = None
    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def __call__(self, rows: pa.Table) -> pa.Table:
        if self.step is None:
            kept = rows.drop_columns(list(self.dropped))
            new = dict(self.renamed)
            return kept.rename_columns([new.get(name, name) for name in kept.column_names])
        return self.step.run(rows, self.settings)


@dataclass(frozen=True)
class Stage:
    """One model, and the pure steps that run in its workers."""

    actor: type[Actor[Any]]
    config: Settings
    pool: Pool
    then: tuple[BoundStep, ...] = ()
    storage: StorageSettings | None = None  # how models in buckets are reached
    shares: bool = False  # uses the workers, and the `pool`, of the stage before

    def here(self) -> Here:
        """The settings, with models in buckets replaced by local copies. Raises SetupError."""
        text = self.config.model_dump_json()
        if not any(scheme.removesuffix("/") in text for scheme in SCHEMES):  # a Path has one slash
            return Here(self.config, {})
        # Imported late: the environment of an isolated engine may have no S3 client.
        from pipelines.storage.local_copies import localized

        return localized(self.config, self.storage)

    @property
    def name(self) -> str:
        """The class name in snake case, as the terminal and run.json show it."""
        name = self.actor.__name__
        return "".join(
            f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name)
        )


@dataclass(frozen=True)
class Flow:
    """An immutable dataflow. Every method returns a new one, or raises SchemaMismatch."""

    source: pa.Schema
    stages: tuple[Stage, ...] = ()
    schema: pa.Schema = field(default=None)

    def __post_init__(self) -> None:
        if self.schema is None:
            object.__setattr__(self, "schema", self.source)

    def through(self, actor: type[Actor[Any]], config: Settings, pool: Pool | None) -> Flow:
        """Send every row through a pool of `actor`. Earlier stages must write its `reads`.

        If `pool` is None, the workers of the stage before hold this model too and run both models
        in turn on each batch.
        """
        schema = _joined(actor.__name__, self.schema, actor.reads, actor.writes)
        if pool is None and not self.stages:
            raise SchemaMismatch(f"{actor.__name__} is the first stage and needs its own pool")
        shared = self.stages[-1].pool if pool is None else pool
        stage = Stage(actor, config, shared, shares=pool is None)
        return Flow(self.source, (*self.stages, stage), schema)

    def map(self, pure: Step, settings: Settings) -> Flow:
        """Apply a pure step in the workers of the stage before."""
        schema = _joined(pure.name, self.schema, pure.reads, pure.writes)
        return self._ride(BoundStep(pure, settings), schema)

    def drop(self, *columns: str) -> Flow:
        """Remove columns."""
        self._check_known("drop", columns)
        kept = pa.schema([f for f in self.schema if f.name not in columns])
        return self._ride(BoundStep(None, dropped=columns), kept)

    def rename(self, **columns: str) -> Flow:
        """Give columns (keyword: old name) new names, so that a later stage can write the old."""
        self._check_known("rename", columns)
        taken = [new for new in columns.values() if new in self.schema.names]
        if taken:
            raise SchemaMismatch(f"rename: a column has this name already: {', '.join(taken)}")
        named = [f.with_name(columns.get(f.name, f.name)) for f in self.schema]
        return self._ride(BoundStep(None, renamed=tuple(columns.items())), pa.schema(named))

    def _check_known(self, what: str, columns: Iterable[str]) -> None:
        for column in columns:
            if column not in self.schema.names:
                raise SchemaMismatch(
                    f"{what}({column!r}): no such column; known: {', '.join(self.schema.names)}"
                )

    def _ride(self, bound: BoundStep, schema: pa.Schema) -> Flow:
        if not self.stages:
            raise SchemaMismatch(
                "a flow must start with a model: call `through` before `map`, `drop` and `rename`"
            )
        last = self.stages[-1]
        ridden = replace(last, then=(*last.then, bound))
        return Flow(self.source, (*self.stages[:-1], ridden), schema)

    def crews(self) -> list[tuple[Stage, ...]]:
        """The stages, grouped by the workers that run them."""
        crews: list[tuple[Stage, ...]] = []
        for stage in self.stages:
            if stage.shares:
                crews[-1] = (*crews[-1], stage)
            else:
                crews.append((stage,))
        return crews

    def reaching(self, storage: StorageSettings) -> Flow:
        """The same flow; its workers read models in buckets with these settings."""
        stages = tuple(replace(stage, storage=storage) for stage in self.stages)
        return replace(self, stages=stages)

    def explain(self) -> Iterator[tuple[str, str, str, str]]:
        """(stage, reads, writes, pool) of each stage and pure step, as text for a table."""
        for stage in self.stages:
            pool = stage.pool
            own = f"{pool.workers}, batches of {pool.batch_size}"
            yield (
                stage.name,
                ", ".join(stage.actor.reads.names),
                ", ".join(stage.actor.writes.names),
                "same worker" if stage.shares else own,
            )
            for rider in stage.then:
                if rider.renamed:
                    old, new = zip(*rider.renamed, strict=True)
                    yield "  rename", ", ".join(old), ", ".join(new), "same worker"
                elif rider.step is None:
                    yield "  drop", ", ".join(rider.dropped), "", "same worker"
                else:
                    reads, writes = rider.step.reads.names, rider.step.writes.names
                    yield f"  {rider.step.name}", ", ".join(reads), ", ".join(writes), "same worker"

    def run_here(self, rows: pa.Table) -> pa.Table:
        """Run the whole flow in this process, without Ray (samples, tests, benchmarks)."""
        for stage in self.stages:
            rows = functools.reduce(
                lambda table, rider: rider(table),
                stage.then,
                stage.actor(stage.here().settings)(rows),
            )
        return rows


def _joined(who: str, have: pa.Schema, reads: pa.Schema, writes: pa.Schema) -> pa.Schema:
    for column in reads:
        if column.name not in have.names:
            raise SchemaMismatch(
                f"{who} reads {column.name}: {column.type}, which no earlier stage writes",
                f"columns at this point: {', '.join(have.names)}",
            )
        there = have.field(column.name).type
        if there != column.type:
            raise SchemaMismatch(
                f"{who} reads {column.name}: {column.type}, "
                f"but an earlier stage writes it as {there}"
            )
    for column in writes:
        if column.name in have.names:
            raise SchemaMismatch(
                f"{who} writes {column.name}, but an earlier stage does too; "
                "columns are never overwritten"
            )
    return pa.schema([*have, *writes])
