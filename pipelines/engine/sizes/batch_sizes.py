"""Finds out how large the batches of a model should be on this machine, by growing them."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psutil
import pyarrow as pa

from actors.contract import Actor
from pipelines.flow import Stage

#: A larger batch must be this much faster to be worth its memory.
GAIN = 1.05
#: Sizes without such a gain after which larger ones are not tried.
FLAT = 2
#: Largest number of rows, or of boxes.
LARGEST = 512
#: Values of `size_step` to compare, and the gain that is worth boxes that move a little.
STEPS = (1, 32, 64)
STEP_GAIN = 1.15
#: As a setting: no limit.
UNLIMITED = 10**12


@dataclass(frozen=True)
class Knob:
    """A batch size among the settings of a model.

    Attributes:
        key: its name. `forward_pixels` counts pixels of the model's input, others count `items`.
        items: images, boxes, or pairs of a prompt and an image.
        steps: steps of the actor (`Actor.timed`) that run these batches.
    """

    key: str
    items: str
    steps: tuple[str, ...]


KNOBS = (
    Knob("forward_pixels", "images", ("forward",)),
    Knob("images_at_once", "images", ("embed", "classify", "detect")),
    Knob("boxes_at_once", "boxes", ("decode_boxes",)),
    Knob("prompts_at_once", "pairs", ("look", "draw")),
)


@dataclass(frozen=True)
class Size:
    """One batch size as measured.

    Attributes:
        batch: items.
        rate: items per second of the model, without decoding.
        memory: bytes, the largest until then: of the device, or of this process on a CPU.
        value: what the setting must be for it.
    """

    batch: int
    rate: float
    memory: int
    value: int


@dataclass
class Growth:
    """The sizes that were tried for one setting, ascending, and why there are no more."""

    stage: str
    knob: Knob
    sizes: list[Size] = field(default_factory=list)
    ended: str = ""
    gain: float = GAIN

    @property
    def best(self) -> Size | None:
        """The smallest size that is nearly as fast as the fastest; None if none fits."""
        fastest = max((size.rate for size in self.sizes), default=0)
        return next((size for size in self.sizes if self.gain * size.rate >= fastest), None)

    @property
    def flat(self) -> bool:
        """Whether the last sizes were not faster than those before."""
        before, last = self.sizes[:-FLAT], self.sizes[-FLAT:]
        fastest = max((size.rate for size in before), default=0)
        return bool(before) and max(size.rate for size in last) < self.gain * fastest


def knobs_of(stage: Stage) -> list[Knob]:
    """The batch sizes among the settings of a stage's model."""
    return [knob for knob in KNOBS if knob.key in type(stage.config).model_fields]


def measured(
    stage: Stage,
    knob: Knob,
    rows: pa.Table,
    seconds: float,
    changes: dict[str, int] | None = None,
) -> Growth:
    """Run a stage's model on growing batches until memory or time runs out, or nothing is gained.

    Args:
        stage: its model is loaded here, in this process.
        knob: the setting to find.
        rows: what the model reads; they are repeated. Images should have one size.
        seconds: after loading; the size in progress is finished.
        changes: settings found before.

    Raises SetupError if the model cannot be loaded.
    """
    unlimited = UNLIMITED if knob.key == "forward_pixels" else LARGEST
    trial = _Trial(stage, knob, {**(changes or {}), knob.key: unlimited}, rows)
    growth, started = Growth(stage.name, knob), time.monotonic()
    trial.size(1)  # the first forward chooses kernels and allocates buffers
    count = 1
    while not growth.ended:
        size = trial.size(count)
        if size is None:
            growth.ended = f"no memory for {count * trial.per_row}"
            break
        growth.sizes.append(size)
        count *= 2
        if growth.flat:
            growth.ended = "larger batches are not faster"
        elif count * trial.per_row > LARGEST:
            growth.ended = "no larger batch is tried"
        elif _too_little_memory(growth.sizes):
            growth.ended = "twice the batch may not fit into memory"
        elif time.monotonic() - started > seconds:
            growth.ended = f"{seconds:g} s are over"
    return growth


def stepped(stage: Stage, rows: pa.Table, changes: dict[str, int]) -> Growth:
    """The rate of a detector on images of several sizes for each of `STEPS`.

    Args:
        rows: as many as the pool gives the model at once.
        changes: settings found before.

    Raises SetupError if the model cannot be loaded.
    """
    knob = Knob("size_step", "images", ("forward",))
    growth = Growth(stage.name, knob, ended="all steps are tried", gain=STEP_GAIN)
    for step in STEPS:
        trial = _Trial(stage, knob, changes | {"size_step": step}, rows)
        trial.size(len(rows))
        if size := trial.size(len(rows)):
            growth.sizes.append(replace(size, batch=step, value=step))
    return growth


class _Trial:
    """A stage's model, loaded with changed settings, and rows for batches of any size.

    `per_row`: items that a row adds to a batch; boxes are all in one row.
    """

    def __init__(
        self, stage: Stage, knob: Knob, changes: Mapping[str, int], rows: pa.Table
    ) -> None:
        kind: type[Actor[Any]] = type(stage.actor.__name__, (_Finished, stage.actor), {})
        config: Any = stage.here().settings.model_copy(update=changes)
        self._actor, self._knob, self._rows = kind(config), knob, rows
        self.per_row = len(list(config.ontology.prompts())) if knob.items == "pairs" else 1

    def size(self, count: int) -> Size | None:
        """The better of two runs on `count` rows or boxes; None if memory does not suffice."""
        from actors.images.batches import TALLY

        rows, refused = self._batch(count), TALLY.refused
        TALLY.largest = 0
        _forget_peak()
        took = min(self._seconds(rows) for _ in range(2))
        if TALLY.refused > refused:
            return None
        batch = count * self.per_row
        value = int(TALLY.largest) if self._knob.key == "forward_pixels" else batch
        return Size(batch, batch / took, _peak(), value)

    def _batch(self, count: int) -> pa.Table:
        if self._knob.items != "boxes":
            return self._rows.take([number % len(self._rows) for number in range(count)])
        row = self._rows.slice(0, 1)
        boxes = row["boxes"].to_pylist()[0]
        many = [boxes[number % len(boxes)] for number in range(count)]
        field = row.schema.field("boxes")
        place = row.schema.get_field_index("boxes")
        return row.set_column(place, field, pa.array([many], field.type))

    def _seconds(self, rows: pa.Table) -> float:
        self._actor.seconds.clear()
        self._actor(rows)
        return sum(self._actor.seconds.get(step, 0) for step in self._knob.steps) or float("inf")


class _Finished(Actor[Any]):
    """An actor whose steps end when the device has done what they asked for."""

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        with super().timed(step):
            yield
            if cuda := _cuda():
                cuda.synchronize()


def _cuda() -> Any:
    """`torch.cuda` if a model of this process uses it, else None."""
    import torch

    return torch.cuda if torch.cuda.is_initialized() else None


def _forget_peak() -> None:
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()


def _peak() -> int:
    """Bytes: largest reserved memory of the device, or largest resident memory of this process."""
    if cuda := _cuda():
        return int(cuda.max_memory_reserved())
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _too_little_memory(sizes: Sequence[Size]) -> bool:
    """Whether a CPU's next batch, twice the last one, may not fit; a GPU says so itself."""
    if _cuda() or len(sizes) < 2:
        return False
    grown = sizes[-1].memory - sizes[-2].memory
    return 2 * grown > psutil.virtual_memory().available
