"""The causes of a gap add up to the gap."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import autolabel
import ocr

CPU = {"driver": 2.0, "models": 30.0, "fetch": 1.5, "raylet": 0.7, "rest": 4.0}


def test_a_labelling_run() -> None:
    steps = {"grounding_dino": {"decode": 3.0, "forward": 12.0, "select": 0.5}, "sam2": {}}
    ours = {"seconds": 22.0, "steps": steps, "cpu_s": CPU}
    found = autolabel.gap(ours, {"seconds": 12.0}, cores=2)
    assert sum(found.values()) == pytest.approx(2 * 22.0 - 2 * 12.0)
    assert found["idle"] == pytest.approx(2 * 22.0 - sum(CPU.values()))
    assert found["masks to RLE"] == 0
    assert found["forwards beyond the floor"] == pytest.approx(30.0 - 3.5 - 24.0)
    assert found["Ray's own processes"] == pytest.approx(4.7)


def test_an_ocr_run_over_its_pages_several_times() -> None:
    ours = {"seconds": 22.0, "pages": 30, "steps": {"decode": 2.0, "crop": 1.0}, "cpu_s": CPU}
    found = ocr.gap(ours, {"seconds": 6.0, "pages": 15}, cores=2)
    assert sum(found.values()) == pytest.approx(2 * 22.0 - 2 * 12.0)
    assert found["networks beyond the floor"] == pytest.approx(30.0 - 3.0 - 24.0)
