"""Rates, GPU time and memory of contestants that take turns, within a time budget."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from parts.gpu.busy import kernel_seconds
from parts.report import median_and_spread

#: Takes encoded images, as many as a multiple of the batch; returns the function that is timed.
Prepare = Callable[[Sequence[bytes]], Callable[[], Any]]
#: Images of the profiled pass, at least.
PROFILED = 4


@dataclass(frozen=True)
class Contestant:
    """One way to do the work. `load` puts the weights on the device and is called once."""

    role: str
    batch: int
    dtype: str
    load: Callable[[], Prepare]


class Clock:
    """What is left of the time budget, seconds."""

    def __init__(self, minutes: float) -> None:
        self._ends = time.monotonic() + 60 * minutes

    def left(self) -> float:
        return self._ends - time.monotonic()


@dataclass
class Row:
    """The figures of one contestant; a rate per turn.

    Attributes:
        gpu_s: seconds of kernels per image, each moment counted once; None if not measured.
        weights_mb, peak_mb: on the device, as the allocator counts: of loading (0 if a contestant
            before has loaded the weights), and of a turn above what was there before it. None
            without a GPU.
        missing: why figures are missing, or "".
    """

    role: str
    batch: int
    dtype: str
    images: int = 0
    rates: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    gpu_s: float | None = None
    weights_mb: float | None = None
    peak_mb: float | None = None
    missing: str = ""

    def figures(self, dollars_per_hour: float | None) -> dict[str, Any]:
        """The row of the report; figures that are missing are None."""
        found: dict[str, Any] = {"role": self.role, "batch": self.batch, "dtype": self.dtype}
        if self.missing:
            found["missing"] = self.missing
        if not self.rates:
            return found
        rate, spread = median_and_spread(self.rates)
        return found | {
            "images_per_s": rate,
            "spread": spread,
            "turns": len(self.rates),
            "images_per_turn": self.images,
            "gpu_busy": None if self.gpu_s is None else round(self.gpu_s * rate, 3),
            "gpu_ms_per_image": None if self.gpu_s is None else round(1000 * self.gpu_s, 3),
            "cpu_ms_per_image": round(1000 * statistics.median(self.cpu_s) / self.images, 3),
            "weights_mb": self.weights_mb,
            "peak_mb": self.peak_mb,
            "dollars_per_million": dollars_per_million(rate, dollars_per_hour),
        }


def dollars_per_million(rate: float, dollars_per_hour: float | None) -> float | None:
    """The price of a million images at `rate` images/s; None if an hour has no price."""
    return None if dollars_per_hour is None else round(dollars_per_hour / 3600 / rate * 1e6, 2)


@dataclass
class _Ready:
    row: Row
    prepare: Prepare
    run: Callable[[], Any]


class Meter:
    """Runs contestants on one device."""

    def __init__(self, device: str, clock: Clock, turns: int, seconds: float) -> None:
        """`seconds`: how long a turn takes, about; at least one batch."""
        self.device, self.clock, self.turns, self.seconds = device, clock, turns, seconds
        self._gpu = device == "cuda"

    def race(
        self,
        contestants: Sequence[Contestant],
        pictures: Sequence[bytes],
        record: Callable[[list[Row]], None],
    ) -> list[Row]:
        """Load and warm up all, run them in turns, then profile one pass of each.

        `record` gets all rows after each step, so that a run that is cut off leaves its results. A
        contestant that fails, or has no time left, has a row that says so.
        """
        rows: list[Row] = []
        ready: list[_Ready] = []
        for contestant in contestants:
            row = Row(contestant.role, contestant.batch, contestant.dtype)
            rows.append(row)
            promised = len(ready) * self.turns * self.seconds
            if self.clock.left() < promised + (self.turns + 2) * self.seconds:
                row.missing = "no time left"
            elif one := self._guarded(row, lambda c=contestant, r=row: self._load(c, r, pictures)):
                ready.append(one)
            record(rows)
        gc.collect()  # not before each turn: it takes half a second with these libraries loaded
        for turn in range(self.turns):
            for place in range(len(ready)):
                self._guarded(*self._turn(ready[(turn + place) % len(ready)]))
                record(rows)
        for one in ready:
            if self._gpu and self.clock.left() > self.seconds:
                self._guarded(*self._profile(one, pictures))
                record(rows)
        return rows

    def _guarded(self, row: Row, step: Callable[[], Any]) -> Any:
        """The step's answer, or None if it fails: one contestant must not cost the others."""
        if row.missing:
            return None
        try:
            return step()
        except Exception as error:  # out of memory, and whatever a library raises
            row.missing = f"{type(error).__name__}: {str(error)[:300]}"
            return None

    def _load(self, contestant: Contestant, row: Row, pictures: Sequence[bytes]) -> _Ready:
        before = self._allocated()
        prepare = contestant.load()
        row.weights_mb = self._mb(self._allocated() - before)
        warm = prepare(_cycled(pictures, contestant.batch))
        warm()  # compiles, picks convolutions
        took = self._timed(warm)
        batches = max(1, math.floor(self.seconds / took))
        row.images = contestant.batch * batches
        return _Ready(row, prepare, prepare(_cycled(pictures, row.images)))

    def _turn(self, one: _Ready) -> tuple[Row, Callable[[], None]]:
        row = one.row

        def turn() -> None:
            if self.clock.left() < row.images / (row.rates[0] if row.rates else math.inf):
                return  # the rates of the turns before stand
            before = self._allocated()
            if self._gpu:
                torch.cuda.reset_peak_memory_stats()
            cpu = time.process_time()
            wall = self._timed(one.run)
            row.cpu_s.append(time.process_time() - cpu)
            row.rates.append(row.images / wall)
            if self._gpu:
                peak = self._mb(torch.cuda.max_memory_allocated() - before)
                row.peak_mb = max(peak or 0.0, row.peak_mb or 0.0)

        return row, turn

    def _profile(self, one: _Ready, pictures: Sequence[bytes]) -> tuple[Row, Callable[[], None]]:
        row = one.row

        def profile() -> None:
            images = row.batch * math.ceil(PROFILED / row.batch)
            seconds = kernel_seconds(one.prepare(_cycled(pictures, images)))
            row.gpu_s = None if seconds is None else seconds / images

        return row, profile

    def _timed(self, run: Callable[[], Any]) -> float:
        self._wait()
        start = time.perf_counter()
        run()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self._gpu:
            torch.cuda.synchronize()

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated() if self._gpu else 0

    def _mb(self, octets: int) -> float | None:
        return round(octets / 1e6, 1) if self._gpu else None


def _cycled(pictures: Sequence[bytes], count: int) -> list[bytes]:
    return [pictures[number % len(pictures)] for number in range(count)]
