"""The interface of a model (Actor) and the resources of its workers (Pool)."""

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
    Field(description="auto: cuda if available, else cpu"),
]


def device_of(settings: object) -> Device | None:
    """The `device` of a model's settings; None for a model without one: it never uses a GPU."""
    named = str(getattr(settings, "device", None))
    if named.startswith(("cuda", "gpu")):  # PaddleOCR's names are cpu, gpu and gpu:N
        return "cuda"
    if named == "auto":
        return "auto"
    return "cpu" if named == "cpu" else None


Dtype = Literal["auto", "float32", "bfloat16", "float16"]


Timed = Callable[[str], AbstractContextManager[None]]


def by_engine(*names: str) -> Discriminator:
    """Pick the settings class by the key `engine`; the first name is the default."""

    def engine(settings: Any) -> Any:
        if isinstance(settings, dict):
            return settings.get("engine", names[0])
        return getattr(settings, "engine", None)

    return Discriminator(
        engine,
        custom_error_type="unknown_engine",
        custom_error_message=f"engine must be one of {', '.join(names)}",
    )


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: False for groups that change where and how fast a run works, but not its output.
    affects_results: ClassVar[bool] = True
    #: Fields without effect on the output, in a group with `affects_results`.
    operational: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _groups_keep_their_defaults(cls, raw: Any) -> Any:
        """A group that is given in part keeps this class's defaults for its other keys.

        Pydantic takes the defaults of the group's class instead: `ocr_pool: {batch_size: 8}` would
        leave one worker, where the job's default is as many as fit.
        """
        if not isinstance(raw, dict):
            return raw
        fields = {name: field.default for name, field in cls.model_fields.items()}
        return {
            name: _merged(fields[name].model_dump(exclude_unset=True), value)
            if isinstance(fields.get(name), Settings)
            else value
            for name, value in raw.items()
        }


def _merged(default: dict[str, Any], given: Any) -> Any:
    """`given`, with the keys of `default` that it lacks, group by group."""
    if not isinstance(given, dict):
        return given
    both = {
        key: _merged(default[key], value) if isinstance(default.get(key), dict) else value
        for key, value in given.items()
    }
    return default | both


C = TypeVar("C", bound=Settings)


class Actor(ABC, Generic[C]):
    """A model in a worker; appends columns to a batch of rows.

    Failures of single items are values: the column ``<verb>_failure`` (see `actors.failures`) is
    set and the other written columns are null. An exception means a fault of the model; the caller
    then bisects the batch to find the row that causes it and quarantines this row.
    """

    reads: ClassVar[pa.Schema]  #: required columns
    writes: ClassVar[pa.Schema]  #: columns appended, in this order; never overwritten
    failure_column: ClassVar[str]  #: the column of `writes` with the FAILURE struct
    repeatable: ClassVar[bool] = True  #: a row may be read again; False if each reading costs money

    def __init__(self, config: C) -> None:
        """Load the weights once, in the worker. Bad weights fail here, not at the first row."""
        self.config = config
        #: Busy seconds per step; the caller reads and clears them.
        self.seconds: dict[str, float] = defaultdict(float)

    @abstractmethod
    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the same rows, in the same order, with `writes` appended."""

    def provenance(self) -> dict[str, str]:
        """Entries for `run.json`: name, revision and digest of the weights, and the engine."""
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
    """`rows` plus the columns of `writes`, from one mapping per row; missing keys become null."""
    for column in writes:
        cells = [value.get(column.name) for value in values]
        rows = rows.append_column(column, pa.array(cells, column.type))
    return rows


Gpus = Annotated[
    Annotated[float, Field(ge=0)] | Literal["auto"],
    Field(
        description="GPUs reserved per worker, also a fraction; with 0 a worker sees no GPU. auto: "
        "an equal part of one GPU for each model pool, if the model can use a GPU and the cluster "
        "has any, else 0"
    ),
]


class Pool(Settings):
    """How many workers run a model, and the resources of each."""

    affects_results: ClassVar[bool] = False

    min_size: int = Field(1, ge=1, description="minimum number of workers, also when idle")
    max_size: int | None = Field(
        1, ge=1, description="maximum number of workers; null: as many as the cluster can hold"
    )
    batch_size: int = Field(16, ge=1, description="rows per batch")
    concurrency: int = Field(
        1,
        ge=1,
        description="batches that each worker processes at once, in threads; use more than 1 only "
        "for models behind a network",
    )
    num_cpus: float = Field(1.0, ge=0, description="CPU cores reserved per worker")
    num_gpus: Gpus = 0.0
    environment: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="name of a prebuilt virtual environment (`make engines`), for engines whose "
        "dependencies conflict with Nightjar's; searched in the folders of NIGHTJAR_VENVS, else "
        "in .venvs and /opt/venvs",
    )
    py_executable: str | None = Field(
        None, description="instead of environment: path of its python on the workers' machines"
    )
    uv: str | None = Field(
        None,
        description="instead of a prebuilt environment: a lock file that Ray installs with uv when "
        "the pool starts, into a copy of the workers' environment (takes minutes and gigabytes)",
    )
    recycle_mb: int | None = Field(
        None,
        ge=1,
        description="MiB; a worker whose own memory has grown by more than this since it loaded "
        "its model is replaced between two batches; null: never",
    )

    @property
    def gpus(self) -> float:
        """`num_gpus`; 0 while it is `auto`."""
        return 0.0 if self.num_gpus == "auto" else self.num_gpus

    @property
    def workers(self) -> str:
        """Number and resources of its workers, for people."""
        size = "as many as fit" if self.max_size is None else f"{self.max_size}"
        gpus = "auto" if self.num_gpus == "auto" else f"{self.num_gpus:g}"
        return f"{size} x {self.num_cpus:g} CPU" + (f" {gpus} GPU" if self.num_gpus else "")

    @property
    def isolated(self) -> bool:
        """Whether its workers run in a different environment from the driver's."""
        return bool(self.environment or self.py_executable or self.uv)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if sum(bool(one) for one in (self.environment, self.py_executable, self.uv)) > 1:
            raise ValueError("set only one of environment, py_executable and uv")
        if self.recycle_mb and self.concurrency > 1:
            raise ValueError(
                "recycle_mb needs concurrency 1: with several batches at once there is no moment "
                "between two batches"
            )
        return self


class ModelPool(Pool):
    """The pool of a model that can use a GPU: it gets a share of one where there is one."""

    num_gpus: Gpus = "auto"
