"""Metrics for Prometheus, through Ray's metrics endpoint on each node.

Ray adds the prefix `ray_` to every name and its own labels (`WorkerId`, ...): sum over them. The
label `run` is the last part of run_dir, so no path or bucket name is published.

    nightjar_rows_total{stage, run}             rows that a stage has finished
    nightjar_failures_total{stage, kind, run}   of these, rows with a failure (actors.failures)
    nightjar_stage_seconds{stage, run}          histogram: seconds for one batch
    nightjar_queue_rows{stage, run}             gauge: rows that wait for a stage or are in it
    nightjar_outcomes_total{outcome, run}       committed rows
    nightjar_escalations_total{run}             rows sent to the fallback reader
    nightjar_vlm_tokens_total{direction, run}   direction: prompt or completion
    nightjar_vlm_money_total{run}               in the currency of the budget's prices

The scoreboard actor and the driver count by batch. So workers send nothing beyond the data for the
progress display, and a run has a few dozen series instead of some for each worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

#: Bucket edges of `nightjar_stage_seconds`: from a batch of cached pages to a slow endpoint.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

#: Name -> (kind, own tags, description). The dashboards in infra/grafana use these names.
METRICS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "nightjar_rows_total": ("counter", ("stage",), "rows that a stage has finished"),
    "nightjar_failures_total": ("counter", ("stage", "kind"), "rows with a failure"),
    "nightjar_stage_seconds": ("histogram", ("stage",), "seconds for one batch"),
    "nightjar_queue_rows": ("gauge", ("stage",), "rows that wait for a stage or are in it"),
    "nightjar_outcomes_total": ("counter", ("outcome",), "committed rows"),
    "nightjar_escalations_total": ("counter", (), "rows sent to the fallback reader"),
    "nightjar_vlm_tokens_total": ("counter", ("direction",), "tokens of the fallback reader"),
    "nightjar_vlm_money_total": ("counter", (), "cost of the fallback reader"),
}


class Meter:
    """Writes the metrics of one run. Can be pickled: metrics are created at the first use."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._made: dict[str, Any] = {}

    def add(self, name: str, value: float, **tags: str) -> None:
        """Add `value` to a counter; does nothing for 0, which Ray rejects."""
        if value > 0:
            self._metric(name).inc(value, tags | {"run": self._run})

    def observe(self, name: str, value: float, **tags: str) -> None:
        """Add `value` to a histogram."""
        self._metric(name).observe(value, tags | {"run": self._run})

    def set(self, name: str, value: float, **tags: str) -> None:
        """Set a gauge."""
        self._metric(name).set(value, tags | {"run": self._run})

    def _metric(self, name: str) -> Any:
        if name not in self._made:
            from ray.util import metrics

            kind, tags, description = METRICS[name]
            more = {"boundaries": list(SECONDS)} if kind == "histogram" else {}
            made = {"counter": metrics.Counter, "gauge": metrics.Gauge}.get(kind, metrics.Histogram)
            self._made[name] = made(name, description, tag_keys=(*tags, "run"), **more)
        return self._made[name]


class BatchMetrics:
    """Metrics that the scoreboard writes: one call for each batch (about 30 microseconds)."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def batch(self, stage: str, rows: int, failures: dict[str, int], busy_s: float) -> None:
        """Count a finished batch of a stage."""
        self._meter.add("nightjar_rows_total", rows, stage=stage)
        self._meter.observe("nightjar_stage_seconds", busy_s, stage=stage)
        for kind, count in failures.items():
            self._meter.add("nightjar_failures_total", count, stage=stage, kind=kind)

    def spent(self, spent: dict[str, float]) -> None:
        """Count the cost of a batch of the fallback reader; `spent` is from `spending`."""
        self._meter.add("nightjar_escalations_total", spent["escalations"])
        for direction in ("prompt", "completion"):
            tokens = spent[f"{direction}_tokens"]
            self._meter.add("nightjar_vlm_tokens_total", tokens, direction=direction)
        self._meter.add("nightjar_vlm_money_total", spent["money"])


def spending(out: pa.Table) -> dict[str, float]:
    """Sums of the column `vlm_usage` over a batch (`escalation.vlm.USAGE`); null counts as 0."""
    usage = out["vlm_usage"].combine_chunks()
    asked = pc.greater(pc.struct_field(usage, "requests"), 0)
    sums = {
        name: pc.sum(pc.struct_field(usage, name)).as_py() or 0
        for name in ("prompt_tokens", "completion_tokens", "money")
    }
    return {"escalations": pc.sum(asked).as_py() or 0, **sums}


class RunMetrics:
    """Metrics that the driver writes: queues and committed outcomes."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._outcomes: Counter[str] = Counter()

    def publish(self, outcomes: Counter[str], waiting: Mapping[str, int]) -> None:
        """Publish new outcomes and all queues. Ray 2.60 drops a gauge that is not set repeatedly.

        `outcomes`: committed rows so far, by outcome; `waiting`: rows by stage.
        """
        for outcome, count in (outcomes - self._outcomes).items():
            self._meter.add("nightjar_outcomes_total", count, outcome=outcome)
        self._outcomes = outcomes.copy()
        for stage, rows in waiting.items():
            self._meter.set("nightjar_queue_rows", rows, stage=stage)
