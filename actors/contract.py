"""What a model is (Actor) and what a deployment chooses (Pool)."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    Field(description="auto: cuda where there is one, else cpu"),
]


Dtype = Literal["auto", "float32", "bfloat16", "float16"]


Timed = Callable[[str], AbstractContextManager[None]]


def by_engine(*names: str) -> Discriminator:
    """Tells settings apart by their key `engine`; the first name is what is meant without it."""

    def engine(settings: Any) -> Any:
        if isinstance(settings, dict):
            return settings.get("engine", names[0])
        return getattr(settings, "engine", None)

    return Discriminator(
        engine,
        custom_error_type="unknown_engine",
        custom_error_message=f"engine is none of {', '.join(names)}",
    )


class Settings(BaseModel):
    """A frozen group of settings; an unknown key is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: False for groups that change where and how fast a run works, never what it writes.
    affects_results: ClassVar[bool] = True
    #: The same for single fields of a group that does.
    operational: ClassVar[frozenset[str]] = frozenset()


C = TypeVar("C", bound=Settings)


class Actor(ABC, Generic[C]):
    """A model held by a worker; appends columns to a batch of rows.

    Failures of single items are values: the column ``<verb>_failure`` (see `actors.failures`) is
    filled, the other written columns are null. An exception means that the model itself is at
    fault; the caller bisects the batch and quarantines the culprit.
    """

    reads: ClassVar[pa.Schema]  #: columns that must already be present
    writes: ClassVar[pa.Schema]  #: columns appended, in this order; never overwritten
    failure_column: ClassVar[str]  #: which of `writes` holds the FAILURE struct

    def __init__(self, config: C) -> None:
        """Load weights once, in the worker. What is wrong with them fails here, not at a row."""
        self.config = config
        self.seconds: dict[str, float] = defaultdict(
            float
        )  #: busy seconds by step; the caller drains it

    @abstractmethod
    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the same rows, in the same order, with `writes` appended."""

    def provenance(self) -> dict[str, str]:
        """Name, revision and digest of the weights, and the engine that runs them."""
        return {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the wall time of the block to ``seconds[step]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - start


def appended(rows: pa.Table, writes: pa.Schema, values: Sequence[Mapping[str, Any]]) -> pa.Table:
    """`rows` with the columns of `writes`, from a mapping for each row; what it lacks is null."""
    for column in writes:
        cells = [value.get(column.name) for value in values]
        rows = rows.append_column(column, pa.array(cells, column.type))
    return rows


class Pool(Settings):
    """How many workers hold a model, and what each may use."""

    affects_results: ClassVar[bool] = False

    min_size: int = Field(1, ge=1, description="workers kept even when idle")
    max_size: int | None = Field(
        1, ge=1, description="workers at most; null: as many as the cluster has room for"
    )
    batch_size: int = Field(16, ge=1, description="rows handed to the model at once")
    concurrency: int = Field(
        1,
        ge=1,
        description="batches at once in each worker, as threads: more than 1 only for models that "
        "wait on a network",
    )
    num_cpus: float = Field(1.0, ge=0, description="CPU cores reserved per worker")
    num_gpus: float = Field(0.0, ge=0, description="GPUs reserved per worker; may be a fraction")
    environment: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="name of a prebuilt environment, for engines that cannot share ours (`make "
        "engines`), looked up in the folders of NIGHTJAR_VENVS, else .venvs and /opt/venvs",
    )
    py_executable: str | None = Field(
        None, description="in place of environment: the path of its python on the workers' machines"
    )
    uv: str | None = Field(
        None,
        description="in place of a prebuilt environment: a lock that Ray installs by uv when the "
        "pool starts, over a copy of the workers' own environment (minutes and gigabytes)",
    )
    recycle_mb: int | None = Field(
        None,
        ge=1,
        description="MiB of its own memory; a worker that has grown by more since its model was "
        "loaded is replaced between two batches; null: never",
    )

    @property
    def isolated(self) -> bool:
        """Whether its workers run in another environment than the driver."""
        return bool(self.environment or self.py_executable or self.uv)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if sum(bool(one) for one in (self.environment, self.py_executable, self.uv)) > 1:
            raise ValueError("environment, py_executable and uv: one of them says where it runs")
        if self.recycle_mb and self.concurrency > 1:
            raise ValueError("recycle_mb: a worker that takes several batches at once has no pause")
        return self
