"""Estimate of time and price: times a few pages in this process, without Ray."""

from __future__ import annotations

import math
import os
import time

import pyarrow as pa
from rich.console import Console

from actors.failures import SetupError
from jobs.console.live import duration
from pipelines.config import JobConfig
from pipelines.engine.sizes.pools import fitted
from pipelines.engine.sizes.room import of_machine
from pipelines.errors import NightjarError, WeightsMissing, WorkerUnfit
from pipelines.flow import Flow
from pipelines.run import Run
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import owed


def print_estimate(console: Console, run: Run, left: int, sample: int) -> None:
    """Time `sample` rows spread over the `left` owed ones; print hours and, with prices, cost."""
    config, unit = run.config, run.job.unit
    flow = run.flow()
    apart = [stage.name for stage in flow.stages if stage.pool.isolated]
    if apart:
        console.print(
            f"no estimate: {', '.join(apart)} cannot be timed here (needs another environment)"
        )
        return
    if config.ray.address is None:
        try:
            flow = fitted(flow, of_machine(config.ray, flow), left, config)
        except NightjarError as error:  # a run would stop; perhaps it is meant for another machine
            console.print(f"no estimate: {error.message}")
            return
        sizes = (f"{crew[0].name} {crew[0].pool.workers}" for crew in flow.crews())
        console.print(f"workers on this machine: {', '.join(sizes)}")
    rows = _spread(run.directory, left, sample)
    with console.status(f"timing {rows.num_rows} {unit}s"):
        seconds = _timed(flow, rows)
    workers = _workers(flow, config)
    hours = left * seconds / workers / 3600
    console.print(
        f"{seconds:.2f} s per {unit} and worker (timed on {rows.num_rows}, model start-up "
        f"excluded), {workers} workers: about {duration(hours * 3600)}"
    )
    prices = config.prices
    hourly = sum(
        (s.pool.max_size or workers)
        * (s.pool.num_cpus * prices.cpu_hour + s.pool.gpus * prices.gpu_hour)
        for s, *_ in flow.crews()
    )
    if hourly:
        console.print(f"about {hours * hourly:,.2f} {prices.currency}")


def _spread(run: RunDir, left: int, sample: int) -> pa.Table:
    step = max(left // sample, 1)
    picked, offset = [], 0
    for _, rows in owed(run):
        first = -offset % step
        picked.append(rows.take(list(range(first, rows.num_rows, step))))
        offset += rows.num_rows
    return pa.concat_tables(picked).slice(0, sample)


def _timed(flow: Flow, rows: pa.Table) -> float:
    """Seconds per row of the slowest pool, with its models loaded and warm.

    Raises WeightsMissing where a model cannot be loaded on this machine, WorkerUnfit where it
    cannot work.
    """
    slowest = 0.0
    for crew in flow.crews():
        seconds = 0.0
        for stage in crew:
            try:
                actor = stage.actor(stage.here().settings)
            except SetupError as error:
                raise WeightsMissing(
                    f"{stage.name} cannot start: {error.message}", error.remedy
                ) from error
            start = time.perf_counter()
            try:
                rows = actor(rows)
            except SetupError as error:
                raise WorkerUnfit(f"{stage.name}: {error.message}", error.remedy) from error
            seconds += time.perf_counter() - start
            for rider in stage.then:
                rows = rider(rows)
        slowest = max(slowest, seconds)
    return slowest / rows.num_rows


def _workers(flow: Flow, config: JobConfig) -> int:
    """Workers of the largest pool. A pool without `max_size` fills this machine's cores."""
    cpus = config.ray.num_cpus or os.cpu_count() or 1
    sizes = [s.pool.max_size or math.floor(cpus / max(s.pool.num_cpus, 0.01)) for s in flow.stages]
    return max(1, *sizes)
