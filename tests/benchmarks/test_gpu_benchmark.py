"""The GPU benchmark is ready: it runs on a CPU with small models, and its parts count right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from parts.gpu.busy import busy_seconds
from parts.gpu.meter import Clock, Contestant, Meter, Row
from parts.gpu.parity import Agreement, Found
from parts.gpu.wheels import PACKAGES, command, pins

ROOT = Path(__file__).parents[2]
OURS, USERS = "nightjar", "library, as users run it"
TUNED, FLOOR = "library, one image at a time, tuned", "floor: bare forwards"
#: (role, batch) of a rehearsal.
ALL = [(OURS, 2), (OURS, 1), (USERS, 1), (TUNED, 1), (FLOOR, 2), (FLOOR, 1)]
LARGE = (
    "grounding-dino-tiny",
    "sam2.1-hiera-tiny",
    "sam3",
    "grounding-dino-base",
    "sam2.1-hiera-large",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a rehearsal wrote. 45 s of CPU time."""
    folder = tmp_path_factory.mktemp("gpu")
    options = ["--device", "cpu", "--tiny", "--out", str(folder)]
    argv = [sys.executable, str(ROOT / "benchmarks/gpu.py"), *options]
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env=threads)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("rehearsal-of-gpu-*.json")
    return dict(json.loads(path.read_text()))


def test_every_contestant_of_every_model_has_a_rate(report: dict[str, Any]) -> None:
    sections = [*report["sections"].values()]
    assert tuple(section["model"] for section in sections[:5]) == LARGE
    assert tuple(section["model"] for section in sections[5:]) == LARGE[:3]
    for section in sections[:5]:
        assert [(row["role"], row["batch"]) for row in section["rows"]] == ALL
    for section in sections[5:]:
        assert [(row["role"], row["batch"]) for row in section["rows"]] == ALL[:2]
    rows = [row for section in sections for row in section["rows"]]
    assert all(row["images_per_s"] > 0 and row["cpu_ms_per_image"] > 0 for row in rows)
    assert not [row["missing"] for row in rows if "missing" in row]
    assert [row["images_per_s"] > 0 for row in report["sharing"]] == [True]


def test_ours_finds_what_the_library_finds(report: dict[str, Any]) -> None:
    compared = [one["parity"] for one in report["sections"].values() if "parity" in one]
    assert len(compared) == 5
    assert all(parity["within"] for parity in compared)
    detectors = [parity for parity in compared if parity["ours"]]
    assert len(detectors) == 3
    assert all(parity["same"] > 20 and parity["largest_pixels"] < 0.01 for parity in detectors)
    assert len([parity for parity in compared if parity["mask_pixels"] > 100_000]) == 3


def test_a_pair_takes_the_time_of_both(report: dict[str, Any]) -> None:
    rates = {
        (section["model"], row["role"], row["batch"]): row["images_per_s"]
        for section in [*report["sections"].values()][:5]
        for row in section["rows"]
    }
    assert len(report["pairs"]) == 2 * len(ALL)
    for pair in report["pairs"]:
        both = sum(1 / rates[model, pair["role"], pair["batch"]] for model in pair["models"])
        assert pair["images_per_s"] == pytest.approx(1 / both, rel=1e-3)


def test_a_rehearsal_claims_nothing_of_a_gpu(folder: Path, report: dict[str, Any]) -> None:
    rows = [row for section in report["sections"].values() for row in section["rows"]]
    for figure in ("gpu_busy", "gpu_ms_per_image", "peak_mb", "dollars_per_million"):
        assert {row[figure] for row in rows} == {None}
    (path,) = folder.glob("*.md")
    text = path.read_text()
    assert "No figure in it says anything about a GPU" in text
    assert text.count("not measured") >= 4 * len(rows)
    assert "dollars." not in text


def test_kernels_that_overlap_count_once() -> None:
    def kernel(start: float, length: float, **other: Any) -> dict[str, Any]:
        return {"ph": "X", "cat": "kernel", "ts": start, "dur": length, **other}

    events = [
        kernel(1_000.0, 500.0),
        kernel(1_200.0, 100.0),
        kernel(1_400.0, 300.0),
        kernel(5_000.0, 1_000.0),
        kernel(1_000.0, 9_000.0, cat="gpu_memcpy"),
        {"ph": "M", "name": "process_name"},
    ]
    assert busy_seconds(events) == pytest.approx(1_700e-6)
    assert busy_seconds([{"ph": "X", "cat": "cpu_op", "ts": 0.0, "dur": 5.0}]) is None


def test_the_gpu_is_busy_for_its_share_of_the_rate() -> None:
    row = Row("ours", 8, "bfloat16", 80, [100.0, 120.0, 110.0], [1.6, 1.6, 2.4], 0.005)
    assert row.figures(3.6) == {
        "role": "ours",
        "batch": 8,
        "dtype": "bfloat16",
        "images_per_s": 110.0,
        "spread": [100.0, 120.0],
        "turns": 3,
        "images_per_turn": 80,
        "gpu_busy": 0.55,
        "gpu_ms_per_image": 5.0,
        "cpu_ms_per_image": 20.0,
        "weights_mb": None,
        "peak_mb": None,
        "dollars_per_million": 9.09,
    }


def test_one_that_fails_does_not_cost_the_others_and_no_time_is_said() -> None:
    def fails() -> Any:
        raise MemoryError("too much")

    def works() -> Any:
        return lambda images: lambda: sum(map(len, images))

    work = [Contestant("a", 1, "", fails), Contestant("b", 2, "", works)]
    seen: list[int] = []
    meter = Meter("cpu", Clock(1), turns=2, seconds=1e-4)
    rows = meter.race(work, [b"x", b"yy"], lambda rows: seen.append(len(rows)))
    assert rows[0].missing == "MemoryError: too much"
    assert len(rows[1].rates) == 2
    assert rows[1].images % 2 == 0
    assert seen == [1, 2, 2, 2]  # after every step
    late = Meter("cpu", Clock(0), turns=2, seconds=1.0).race(work, [b"x"], lambda rows: None)
    assert [row.missing for row in late] == ["no time left", "no time left"]


def test_objects_at_the_threshold_do_not_count_as_lost() -> None:
    agreement = Agreement(threshold=0.3)
    box = [10.0, 10.0, 50.0, 60.0]
    ours = [Found("cat", 0.9, box), Found("dog", 0.9, box), Found("cat", 0.30005, [0, 0, 9, 9])]
    agreement.add(ours, [Found("cat", 0.9004, [10.2, 10.0, 50.0, 60.0])])
    counted = agreement.report()
    assert (counted["same"], counted["undecided"], counted["same_share"]) == (1, 1, 0.5)
    assert counted["largest_pixels"] == pytest.approx(0.2)
    assert not counted["within"]
    assert not Agreement().report()["within"]  # nothing compared is no proof


def test_the_wheels_are_those_of_the_lock_and_of_the_machines_python() -> None:
    wanted = pins((ROOT / "requirements.lock").read_text())
    assert [one.split("==")[0] for one in wanted] == [*PACKAGES]
    asked = command(Path("there"), wanted)
    assert asked[asked.index("--python-version") + 1] == "3.12"
    assert {"--no-deps", "--only-binary=:all:", *wanted} < set(asked)
    with pytest.raises(SystemExit, match="pydantic"):
        pins("transformers==5.23.0\n")
