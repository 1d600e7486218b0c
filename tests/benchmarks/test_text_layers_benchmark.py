"""The benchmark of wrong font maps, with one font."""

from __future__ import annotations

import sys
from pathlib import Path

from mapped_fonts import installed

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from text_layers import measured


def test_right_maps_are_kept_and_wrong_ones_refused() -> None:
    report = measured([("seen", installed("DejaVu Serif"))])
    for kind, counts in report["counts"].items():
        refused, pages = counts["seen"]
        assert pages == 1
        assert refused == (0 if kind.startswith("right") else 1), kind
    assert report["false_alarms"] == []
