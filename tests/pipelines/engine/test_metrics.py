"""Metrics for Prometheus as counted; tests/jobs/test_submit.py checks that they arrive."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from actors.escalation.vlm import USAGE
from pipelines.engine.metrics import METRICS, BatchMetrics, Meter, RunMetrics, spending
from pipelines.engine.progress import Progress
from pipelines.engine.workers.scoreboard import Board, StageScore


class Remembers(Meter):
    """Keeps what would go to Ray."""

    def __init__(self) -> None:
        super().__init__("night")
        self.kept: list[tuple[str, float, dict[str, str]]] = []

    def _metric(self, name: str) -> Any:
        kept, tag_keys = self.kept, {*METRICS[name][1], "run"}

        class Series:
            def inc(self, value: float, tags: dict[str, str]) -> None:
                assert set(tags) == tag_keys, "Ray refuses a missing or an unknown tag"
                kept.append((name, value, {k: v for k, v in tags.items() if k != "run"}))

            observe = set = inc

        return Series()


def test_a_batch_is_counted_with_its_failures_and_its_seconds() -> None:
    meter = Remembers()
    board = Board(BatchMetrics(meter))
    board.begin("reader", [1, 2, 3])
    board.end("reader", [1, 2, 3], {"CORRUPT_IMAGE": 2}, {"read": 0.4}, 0.5)
    assert meter.kept == [
        ("nightjar_rows_total", 3, {"stage": "reader"}),
        ("nightjar_stage_seconds", 0.5, {"stage": "reader"}),
        ("nightjar_failures_total", 2, {"stage": "reader", "kind": "CORRUPT_IMAGE"}),
    ]


def test_spending_counts_rows_that_were_asked_about_and_what_is_known_of_their_price() -> None:
    rows = [
        {"requests": 2, "prompt_tokens": 10, "completion_tokens": 4, "money": 0.5, "seconds": 1.0},
        {"requests": 1, "prompt_tokens": None, "completion_tokens": None, "money": None},
        {"requests": 0},  # the budget was spent
        None,  # not in doubt
    ]
    table = pa.table({"vlm_usage": pa.chunked_array([rows[:2], rows[2:]], USAGE)})
    known = {"prompt_tokens": 10, "completion_tokens": 4, "money": 0.5}
    assert spending(table) == {"escalations": 2, **known}
    assert spending(table.slice(3)) == dict.fromkeys(("escalations", *known), 0)
    assert spending(table.slice(0, 0)) == dict.fromkeys(("escalations", *known), 0)
    meter = Remembers()
    Board(BatchMetrics(meter)).report_spending(spending(table))
    assert [(name, value) for name, value, _ in meter.kept] == [
        ("nightjar_escalations_total", 2),
        ("nightjar_vlm_tokens_total", 10),
        ("nightjar_vlm_tokens_total", 4),
        ("nightjar_vlm_money_total", 0.5),
    ]


def test_the_driver_publishes_new_outcomes_and_every_queue() -> None:
    """A queue that does not move is published too: Ray forgets a gauge that is not set again."""
    meter, progress = Remembers(), Progress(100, 20, ("fetch", "read"))
    metrics = RunMetrics(meter)
    progress.scores = {"fetch": StageScore(rows=50), "read": StageScore(rows=30)}
    assert progress.waiting() == {"fetch": 30, "read": 20}
    progress.committed.outcomes = Counter(ocr=9, failed=1)
    metrics.publish(progress.committed.outcomes, progress.waiting())
    progress.committed.outcomes["ocr"] += 5
    progress.scores["read"] = StageScore(rows=50)
    metrics.publish(progress.committed.outcomes, progress.waiting())
    assert meter.kept == [
        ("nightjar_outcomes_total", 9, {"outcome": "ocr"}),
        ("nightjar_outcomes_total", 1, {"outcome": "failed"}),
        ("nightjar_queue_rows", 30, {"stage": "fetch"}),
        ("nightjar_queue_rows", 20, {"stage": "read"}),
        ("nightjar_outcomes_total", 5, {"outcome": "ocr"}),
        ("nightjar_queue_rows", 30, {"stage": "fetch"}),
        ("nightjar_queue_rows", 0, {"stage": "read"}),
    ]
