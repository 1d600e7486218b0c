"""The feeding benchmark runs, and its contestants make the same pixels, inputs and masks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_quick_run_reports_every_step_and_the_cores(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the photographs come with scikit-image")
    script = ROOT / "benchmarks/feeding.py"
    options = ["--quick", "--images", "1", "--rounds", "1", "--out", str(tmp_path)]
    argv = [sys.executable, str(script), *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # it compares the results of both
    (path,) = tmp_path.glob("feeding-*.json")
    (section,) = json.loads(path.read_text())["sizes"].values()
    assert len(section["steps"]) == 7
    for both in section["steps"].values():
        assert min(both["before"]["ms"], both["after"]["ms"]) >= 0
    host = section["images_per_second"]["gpu"]
    assert host["after"] > host["before"]
    page = path.with_suffix(".md").read_text()
    assert f"{50 / host['before']:.1f} -> {50 / host['after']:.1f} -> " in page
