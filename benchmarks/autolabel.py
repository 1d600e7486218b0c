"""The labelling job against its floor on the same cores, with the causes of the gap.

    python benchmarks/autolabel.py [--count 2400] [--model DIR] [--segmenter DIR]
        [--threshold 0.5] [--batch 16] [--repeats 3] [--workers CORES] [--name autolabel]
        [--out DIR]

Contestants, in turns, over the same rendered scenes:

- `nightjar run` with both models in each worker, as in the quickstart. Timed from the detector's
  first batch to the segmenter's last batch.
- the same with one worker per model.
- the floor: one process per core, each with an equal share of the images. It runs only the forward
  passes of both models. Inputs are prepared before the clock starts, grouped by image size.

Core seconds are cores x measured time.

`--workers 1` on two cores compares one worker with one process of the floor. The rest of the run
then has a core of its own, as it has beside a GPU, and only the worker's core is counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import yaml
from parts.labelling import detectors, segmenters
from parts.labelling.judge import FRESH_SEED, from_folder, rendered
from parts.report import head, median_and_spread, result_stem, spread_text, table, write
from parts.together import answer_together, together
from parts.watch import beside_models, watched

from actors.detection.grounding.settings import GroundingDinoConfig
from actors.detection.grounding_dino import GroundingDino
from actors.segmentation.sam2 import Sam2
from actors.segmentation.settings import Sam2Config

HERE = Path(__file__).parent
CORES = os.cpu_count() or 1
QUICKSTART = HERE.parent / "configs/autolabel/quickstart.yaml"
OURS, APART = "nightjar run", "nightjar run, a worker for each model"
FLOOR = "floor: bare forwards, prepared inputs"
#: Stage -> its steps other than forward passes -> their names in the table of causes.
STEPS = {
    "grounding_dino": {"decode": "decoding, resizing for the detector", "select": "NMS, rules"},
    "sam2": {"decode": "decoding, resizing for the segmenter", "encode_masks": "masks to RLE"},
}


def main() -> None:
    arguments = _arguments()
    if arguments.floor:
        answer_together(_forwards)
        return
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch) / "images"
        images.mkdir()
        for number, sample in enumerate(rendered(arguments.count, FRESH_SEED)):
            (images / f"{number:05d}.jpg").write_bytes(sample.data)
        for repeat in range(arguments.repeats):
            config = _config(arguments, images, Path(scratch) / f"run{repeat}")
            round_of: dict[str, Any] = {OURS: partial(_ours, config)}
            if arguments.apart and arguments.workers == CORES:
                round_of[APART] = partial(_ours, _apart(config))
            round_of[FLOOR] = partial(_floor, config, arguments.workers)
            for name, measured in round_of.items():
                runs.setdefault(name, []).append(measured())
                print(f"{repeat} {name}: {runs[name][-1]}", flush=True)
    report = _report(runs, arguments)
    write(result_stem(arguments.out, arguments.name, report), report, _lines(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pocket = HERE.parent / "configs/autolabel/pocket"
    parser.add_argument("--count", type=int, default=2400, help="images")
    parser.add_argument("--model", type=Path, default=pocket / "detector")
    parser.add_argument("--segmenter", type=Path, default=pocket / "segmenter")
    parser.add_argument("--threshold", type=float, default=0.5, help="lowest score of a box")
    parser.add_argument("--batch", type=int, default=16, help="rows per batch, in all pools")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument(
        "--apart",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="with all cores: also run with one worker per model",
    )
    parser.add_argument("--name", default="autolabel", help="name of the result files")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--floor", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _config(arguments: argparse.Namespace, images: Path, run_dir: Path) -> dict[str, Any]:
    """The quickstart's config with these images and models."""
    config: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text())
    del config["truth"]
    config |= {"run_dir": str(run_dir), "source": {"path": str(images)}}
    config["detector"] |= {"model": str(arguments.model)}
    config["detector"]["ontology"] |= {"threshold": arguments.threshold}
    config["segmenter"] |= {"model": str(arguments.segmenter)}
    for pool in ("fetch_pool", "detector_pool"):
        config[pool] |= {"batch_size": arguments.batch}
    if arguments.workers != CORES:
        config["detector_pool"] |= {"min_size": arguments.workers, "max_size": arguments.workers}
    return config


def _apart(config: dict[str, Any]) -> dict[str, Any]:
    pool = config["detector_pool"] | {"num_cpus": 0.5, "max_size": 1}
    pools = {"detector_pool": pool, "segmenter_pool": pool}
    return config | pools | {"run_dir": config["run_dir"] + "-apart"}


def _ours(config: dict[str, Any]) -> dict[str, Any]:
    run_dir = Path(config["run_dir"])
    path = run_dir.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    argv = [sys.executable, "-m", "jobs.cli", "run", "--no-report", str(path)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    seen = watched(process)
    assert process.returncode == 0
    session = json.loads((run_dir / "run.json").read_text())["sessions"][0]
    stages = session["stages"]
    began = stages["grounding_dino"]["first_batch_at"]
    ended = stages["sam2"]["last_batch_at"]
    return {
        "seconds": ended - began,
        "first_row_s": session["first_commit_s"],
        "peak_mb": round(seen.peak_mb),
        "steps": {name: stages[name]["seconds"] for name in STEPS},
        "busy_s": {name: stages[name]["busy_s"] for name in STEPS},
        "cpu_s": seen.cpu_between(began, ended),
    }


def _floor(config: dict[str, Any], shares: int) -> dict[str, Any]:
    argv = [sys.executable, str(HERE / "autolabel.py"), "--floor"]
    tasks = [{"config": config, "share": share, "shares": shares} for share in range(shares)]
    seconds, each = together(argv, tasks)
    return {"seconds": seconds, "cpu_s": sum(each)}


def _forwards(task: dict[str, Any]) -> Callable[[], float]:
    """Prepare a share of the images. The result runs the forward passes, returns CPU seconds."""
    torch.set_num_threads(1)
    config = task["config"]
    images = from_folder(Path(config["source"]["path"]), 10**9)[task["share"] :: task["shares"]]
    finder = GroundingDino(GroundingDinoConfig.model_validate(config["detector"]))
    tables = [pa.table({"image": pa.array([image.data], pa.binary())}) for image in images]
    found = [finder(rows)["boxes"].to_pylist()[0] for rows in tables]
    boxes = [[one["box"] for one in each or () if one["kept"]] for each in found]
    cutter = Sam2(Sam2Config.model_validate(config["segmenter"]))
    asked = detectors.Task(str(config["detector"]["model"]), (), 0.5, 0, "cpu", "auto")
    find = detectors.floor(detectors.FLOOR, finder, asked, []).prepare(images)
    cut = segmenters.floor(cutter, boxes)
    cut.prepare(images[:1])()  # warm-up
    both = (find, cut.prepare(images))

    def run() -> float:
        began = time.process_time()
        for forwards in both:
            forwards()
        return time.process_time() - began

    return run


def gap(ours: dict[str, Any], floor: dict[str, Any], cores: int) -> dict[str, float]:
    """Core seconds by cause that the run needs beyond the floor. They add up to the gap.

    Steps are wall time of single-threaded workers; the other causes are CPU time per process.
    `forwards beyond the floor`: each worker's first pass, smaller batches than the floor's, memory
    contention, Arrow. `idle`: unused core time, at the start until all workers are up and at the
    end when one worker has no batch left.
    """
    found = {
        title: ours["steps"][stage].get(step, 0.0)
        for stage, steps in STEPS.items()
        for step, title in steps.items()
    }
    forwards = ours["cpu_s"].get("models", 0.0) - sum(found.values())
    found["forwards beyond the floor"] = forwards - cores * floor["seconds"]
    return found | beside_models(ours["cpu_s"], cores * ours["seconds"])


def _in_models(run: dict[str, Any]) -> dict[str, Any]:
    """The same run with only the CPU time of its model workers."""
    return run | {"cpu_s": {"models": run["cpu_s"].get("models", 0.0)}}


def _report(runs: dict[str, list[dict[str, Any]]], arguments: Any) -> dict[str, Any]:
    rates = {n: [arguments.count / run["seconds"] for run in each] for n, each in runs.items()}
    whole = arguments.workers == CORES
    ours = runs[OURS] if whole else [_in_models(run) for run in runs[OURS]]
    gaps = [gap(*pair, arguments.workers) for pair in zip(ours, runs[FLOOR], strict=True)]
    rows = {}
    for name, rate in rates.items():
        median, spread = median_and_spread(rate)
        rows[name] = {"images_per_s": median, "spread": spread}
    ratio = rows[OURS]["images_per_s"] / rows[FLOOR]["images_per_s"]
    folders = (arguments.model, arguments.segmenter)
    return head() | {
        "images": arguments.count,
        "models": ["/".join(folder.resolve().parts[-2:]) for folder in folders],
        "contestants": rows,
        "of_the_floor": round(ratio, 3),
        "workers": arguments.workers,
        "core_s": round(arguments.workers * statistics.median(r["seconds"] for r in runs[OURS]), 1),
        "gap": {name: statistics.median(one[name] for one in gaps) for name in gaps[0]},
        "raw": runs,
    }


def _lines(report: dict[str, Any]) -> list[str]:
    rates = [
        [name, f"{row['images_per_s']:.2f}", spread_text(row["spread"])]
        for name, row in report["contestants"].items()
    ]
    whole = sum(report["gap"].values())
    causes = [
        [name, f"{seconds:.1f}", f"{100 * seconds / whole:.0f} %"]
        for name, seconds in sorted(report["gap"].items(), key=lambda item: -item[1])
    ]
    return [
        f"# `nightjar run`, autolabel, {report['date']}, {report['machine']}",
        "",
        f"{report['images']} rendered scenes, 12 classes, {report['models'][0]} and "
        f"{report['models'][1]}, {report['workers']} workers: "
        f"{report['of_the_floor']:.2f} of the floor.",
        "",
        *table(["contestant", "images/s (median)", "spread"], rates),
        "",
        f"Causes of the gap: {whole:.0f} of {report['core_s']:.0f} core seconds of a run.",
        "",
        *table(["cause", "core seconds", "of the gap"], causes),
    ]


if __name__ == "__main__":
    main()
