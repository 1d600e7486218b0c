"""Floors deliver on other files what calibrations promise: simulated pages with a known law."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from parts.pages.simulated_pages import simulated
from parts.promises_kept import on_halves, on_simulated


def test_promises_of_small_samples_hold_on_other_files() -> None:
    tight, easy = on_simulated(60, (0.015, 0.03), confidence=0.9, splits=30, seed=0, others=400)
    for one in (tight, easy):
        assert one["kept"] >= 0.8, "0.9, less two standard errors of 30 splits"
        assert one["cer"] < one["target"]
    assert easy["share"] > 0.5
    assert easy["share"] > tight["share"]


def test_halves_of_a_sample_are_judged_too() -> None:
    (row,) = on_halves(simulated(60, 3), (0.03,), confidence=0.9, splits=3, seed=0)
    assert (row["files"], row["splits"]) == (30, 3)
    assert 0 <= row["kept"] <= 1
