"""docs/cluster.md has every metric, and the limits that the code has."""

from __future__ import annotations

from pathlib import Path

from jobs.cluster.follow import PATIENCE_S
from jobs.cluster.package import MAX_MB
from pipelines.engine.metrics import METRICS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")


def test_every_metric_has_a_row_with_its_labels() -> None:
    for name, (_, tags, _) in METRICS.items():
        labels = ", ".join(f"`{tag}`" for tag in (*tags, "run"))
        assert f"| `ray_{name}` | {labels} |" in PAGE


def test_the_limits_are_those_of_the_code() -> None:
    assert f"above {MAX_MB:g} MB" in PAGE
    assert f"for {PATIENCE_S / 60:g} minutes" in PAGE
