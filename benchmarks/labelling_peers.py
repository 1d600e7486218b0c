"""Boxes for a folder of images: `nightjar run` against autodistill, as whole jobs.

    python benchmarks/labelling_peers.py --model DIR [--count 4] [--classes 5] [--repeats 2]
        [--threshold 0.5] [--f1] [--peers DIR] [--out DIR] [--name labelling_peers]

Contestants, in turns, on the same cores and weights:

- `nightjar run` with the quickstart's settings and no segmenter, in its default dtype and in
  float32. It puts all classes in one prompt.
- autodistill with Grounding DINO as in its README: all cores, float32, one forward pass per class,
  overlapping boxes kept.

`all in` divides images by the wall time of the whole command. `labelling` leaves start-up out: for
autodistill it times `.label`, for ours the detector's first to last batch in run.json.

--model DIR is a grounding-dino-tiny or -base checkpoint of transformers
(`parts/labelling/full_size.py` makes one with random weights).
`parts/labelling/groundingdino_format.py` converts it for autodistill. The benchmark first measures
how far the answers of the two models differ, for one image and one prompt.
`--f1` scores the boxes against the rendered truth; use it with trained weights. autodistill has an
environment of its own (`make bench-labelling-peers`). If it is missing, the report says so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml
from parts.labelling.groundingdino_format import write_home
from parts.labelling.judge import FRESH_SEED, NAMES, Boxes, Sample, f1, opened, rendered
from parts.report import head, median_and_spread, result_stem, spread_text, table, write
from parts.together import quiet

from actors.detection.grounding.weights import load_grounding_dino
from actors.hub_model import HubModel

HERE = Path(__file__).parent
QUICKSTART = HERE.parent / "configs/autolabel/quickstart.yaml"
OURS, FULL = "nightjar run", "nightjar run, float32"
PEER = "autodistill 0.1.29, Grounding DINO 0.1.4, float32"
CORES = os.cpu_count() or 1
#: Clamp of `inverse_sigmoid` in autodistill's Grounding DINO package.
THEIR_BOUND = 1e-3


@dataclass(frozen=True)
class Task:
    """Input of all contestants. `images`: a folder; `home`: autodistill's, with its weights."""

    model: Path
    images: Path
    home: Path
    python: Path
    names: tuple[str, ...]
    threshold: float
    count: int


@dataclass(frozen=True)
class Done:
    """Result of one job: seconds without start-up, and boxes by file name."""

    seconds: float
    found: dict[str, Boxes]


def main() -> None:
    arguments = _arguments()
    samples = rendered(arguments.count, FRESH_SEED)
    with tempfile.TemporaryDirectory() as scratch:
        task = _task(arguments, samples, Path(scratch))
        there = task.python.exists()
        jobs: dict[str, Callable[[Task, Path], Done]] = {
            OURS: lambda task, out: nightjar(task, out, "auto"),
            FULL: lambda task, out: nightjar(task, out, "float32"),
        }
        parity = None
        if there:
            jobs[PEER] = autodistill
            write_home(task.model, task.home)
            parity = same_answers(task, samples[0], Path(scratch))
            print(f"largest differences: {parity}", flush=True)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
        for repeat in range(arguments.repeats):
            for number, (name, job) in enumerate(jobs.items()):
                out = Path(scratch) / f"{repeat}-{number}"
                results[name].append(_timed(job, task, out, samples if arguments.f1 else None))
                print(f"{repeat} {name}: {results[name][-1]}", flush=True)
    absent = {} if there else {PEER: f"no {task.python} (make bench-labelling-peers)"}
    report = _report(results, absent, parity, arguments)
    write(result_stem(arguments.out, arguments.name, report), report, _lines(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--count", type=int, default=4, help="images")
    parser.add_argument("--classes", type=int, default=5, help="1 to 20")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threshold", type=float, default=0.5, help="lowest score of a box")
    parser.add_argument(
        "--f1", action="store_true", help="score the boxes against the truth (for trained weights)"
    )
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".venvs/peers")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--name", default="labelling_peers", help="name of the result files")
    return parser.parse_args()


def _task(arguments: argparse.Namespace, samples: Sequence[Sample], scratch: Path) -> Task:
    images = scratch / "images"
    images.mkdir()
    for number, sample in enumerate(samples):
        (images / _file(number)).write_bytes(sample.data)
    return Task(
        model=arguments.model.resolve(),
        images=images,
        home=scratch / "home",
        python=arguments.peers.resolve() / "autodistill/bin/python",
        names=NAMES[: arguments.classes],
        threshold=arguments.threshold,
        count=len(samples),
    )


def _file(number: int) -> str:
    return f"{number:05d}.jpg"


def _timed(
    job: Callable[[Task, Path], Done], task: Task, out: Path, truth: Sequence[Sample] | None
) -> dict[str, Any]:
    out.mkdir()
    start = time.perf_counter()
    done = job(task, out)
    seconds = time.perf_counter() - start
    found = [done.found[_file(number)] for number in range(task.count)]
    return {
        "seconds": round(seconds, 2),
        "labelling_s": round(done.seconds, 2),
        "all_in": task.count / seconds,
        "labelling": task.count / done.seconds,
        "boxes_per_image": sum(len(boxes.names) for boxes in found) / task.count,
        "f1": f1(found, truth, task.names) if truth else None,
    }


def nightjar(task: Task, out: Path, dtype: str) -> Done:
    """`nightjar run` with the quickstart's settings, boxes only."""
    import pyarrow.dataset as ds

    path = out / "run.yaml"
    path.write_text(yaml.safe_dump(config_of(task, out / "run", dtype)))
    quiet([sys.executable, "-m", "jobs.cli", "run", "--no-report", str(path)])
    session = json.loads((out / "run/run.json").read_text())["sessions"][0]
    stage = session["stages"]["grounding_dino"]
    rows = ds.dataset(out / "run/shards").to_table(columns=["uri", "instances"]).to_pylist()
    found = {
        Path(row["uri"]).name: Boxes.of(
            *([one[key] for one in row["instances"]] for key in ("class", "score", "box"))
        )
        for row in rows
    }
    return Done(stage["last_batch_at"] - stage["first_batch_at"], found)


def config_of(task: Task, run_dir: Path, dtype: str) -> dict[str, Any]:
    """The quickstart's config without segmenter. Small batches give every worker at least one."""
    config: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text())
    for key in ("truth", "segmenter", "segmenter_pool"):
        del config[key]
    config |= {"run_dir": str(run_dir), "source": {"path": str(task.images)}}
    config["triage"] = {"need_mask": False}
    classes: dict[str, Any] = {name: {} for name in task.names}
    ontology = {"threshold": task.threshold, "classes": classes}
    config["detector"] = {"model": str(task.model), "dtype": dtype, "ontology": ontology}
    for pool in ("fetch_pool", "detector_pool"):
        config[pool] |= {"batch_size": max(1, min(8, task.count // (2 * CORES)))}
    return config


def autodistill(task: Task, out: Path) -> Done:
    """`GroundingDINO(...).label(folder)` in autodistill's environment, with its default threads."""
    given = {"names": task.names, "threshold": task.threshold, "folder": str(task.images)}
    said = _peer(task, {"work": "label", "out": str(out / "labelled"), **given}, out)
    found = {
        name: Boxes.of(one["names"], one["scores"], one["boxes"])
        for name, one in said["found"].items()
    }
    return Done(said["seconds"], found)


def _peer(task: Task, given: dict[str, Any], out: Path) -> Any:
    path, answer = out / "task.json", out / "answer.json"
    path.write_text(json.dumps(given | {"answer": str(answer)}))
    offline = {"HOME": str(task.home), "HF_HUB_OFFLINE": "1"}
    argv = [str(task.python), str(HERE / "parts/labelling/autodistill_worker.py"), str(path)]
    quiet(argv, os.environ | offline)
    return json.loads(answer.read_text())


@torch.inference_mode()
def same_answers(task: Task, sample: Sample, scratch: Path) -> dict[str, dict[str, float]]:
    """Largest differences between our model in float32 and autodistill's, for the same pixels.

    `logits` is the largest over all queries and tokens of the prompt. `boxes` is a share of the
    image's side. Both are measured twice: `as they are`, and with `one bound`. The models clamp
    coordinates before the logit, autodistill's at 1e-3 and transformers' at 1e-5; `one bound` sets
    both to 1e-3.
    """
    caption = ". ".join(task.names) + "."
    loaded = load_grounding_dino(
        HubModel(model=str(task.model), local_files_only=True, device="cpu")
    )
    inputs = loaded.processor(images=opened(sample.data), text=caption, return_tensors="pt")
    pixels, out = scratch / "pixels.pt", scratch / "said.pt"
    torch.save(inputs["pixel_values"][0], pixels)
    given = {"work": "forward", "pixels": str(pixels), "caption": caption, "out": str(out)}
    _peer(task, given, scratch)
    logits, boxes = torch.load(out)
    tokens = inputs["input_ids"].shape[1]

    def differences() -> dict[str, float]:
        ours = loaded.model(**inputs)
        return {
            "logits": float((logits - ours.logits[0])[:, :tokens].abs().max()),
            "boxes": float((boxes - ours.pred_boxes[0]).abs().max()),
        }

    logit = torch.special.logit
    with patch("torch.special.logit", lambda x, eps: logit(x, eps=THEIR_BOUND)):
        bound = differences()
    return {"as they are": differences(), "one bound": bound}


def _report(
    results: dict[str, list[dict[str, Any]]], absent: dict[str, str], parity: Any, arguments: Any
) -> dict[str, Any]:
    rows = {}
    for name, found in results.items():
        row: dict[str, Any] = {key: found[0][key] for key in ("boxes_per_image", "f1")}
        for key in ("labelling", "all_in"):
            row[key], row[f"{key}_spread"] = median_and_spread([one[key] for one in found])
            median = _median(found, key)
            row[f"{key}_ours_is"] = round(_median(results[OURS], key) / median, 3)
            row[f"{key}_float32_is"] = round(_median(results[FULL], key) / median, 3)
        rows[name] = row
    return head() | {
        "what": f"{arguments.count} rendered scenes, {arguments.classes} classes, "
        f"{'/'.join(arguments.model.resolve().parts[-2:])}, {arguments.repeats} repeats",
        "threshold": arguments.threshold,
        "largest_differences": parity,
        "contestants": rows,
        "left_out": absent,
        "raw": results,
    }


def _median(found: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(one[key] for one in found))


def _lines(report: dict[str, Any]) -> list[str]:
    rows = [
        [
            name,
            f"{row['labelling']:.3f} ({spread_text(row['labelling_spread'])})",
            f"{row['labelling_ours_is']:.2f} x",
            f"{row['labelling_float32_is']:.2f} x",
            f"{row['all_in']:.3f}",
            f"{row['all_in_ours_is']:.2f} x",
            "-" if row["f1"] is None else f"{row['f1']:.3f}",
        ]
        for name, row in report["contestants"].items()
    ]
    columns = ["contestant", "labelling, images/s (spread)", "ours is", "ours in float32 is"]
    lines = [
        f"# Labelling peers as whole jobs, {report['date']}, {report['machine']}",
        "",
        f"{report['what']}, boxes from {report['threshold']}.",
        "",
        *table([*columns, "all in", "ours is", "F1"], rows),
        "",
    ]
    if report["largest_differences"]:
        found = report["largest_differences"]
        apart, alike = (found[key] for key in ("as they are", "one bound"))
        lines.append(
            "Largest differences between the two models with the same weights, one image and one "
            f"prompt: logits {apart['logits']:.0e}, boxes {apart['boxes']:.0e} of the image's "
            f"side. With the same clamp of coordinates: {alike['logits']:.0e} and "
            f"{alike['boxes']:.0e}."
        )
    return lines + [f"Left out: {name}: {why}." for name, why in report["left_out"].items()]


if __name__ == "__main__":
    main()
