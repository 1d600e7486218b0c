"""The calibration benchmark runs over a finished run and writes its report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from labelled_runs import labelled_run
from PIL import Image

ROOT = Path(__file__).parents[2]


def test_both_curves_and_all_three_comparisons_are_written(tmp_path: Path) -> None:
    labelled_run(tmp_path, 30)
    script = ROOT / "benchmarks/calibration.py"
    inputs = ["--run", "run", "--truth", "truth", "--out", "."]
    options = ["--targets", "0.01", "0.02", "--repeats", "1", "--splits", "2"]
    argv = [sys.executable, str(script), *inputs, *options]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (written,) = tmp_path.glob("calibration-*.json")
    report = json.loads(written.read_text())
    assert [one["escalated"] for one in report["at_share"]][::8] == [0.0, 0.4, 0.8]
    for one in report["at_share"]:
        ours, naive, saved = (one[name][0] for name in ("calibrated", "naive", "saved"))
        assert abs(naive - ours - saved) < 2e-5
        assert one["saved"][1] <= saved <= one["saved"][2]
    assert [one["cer"] for one in report["at_cer"]] == [0.01, 0.02]
    rows = report["kept"]["this sample"] + report["kept"]["simulated"]
    assert [one["files"] for one in rows] == [15, 15, 60, 60, 200, 200]
    promised = [one["promised_cer"] for one in report["promises"]]
    assert promised == sorted(promised)
    assert Image.open(written.with_suffix(".png")).size == (1500, 675)
    text = written.with_suffix(".md").read_text()
    assert "## Pages accepted at the same CER" in text
    assert "these very receipts" not in text
    assert text in done.stdout + "\n"
