"""Images a second that one core can deliver to a device, before and after, step by step.

    python benchmarks/feeding.py [--rounds 5] [--images 3] [--quick] [--out DIR]

Photographs of scikit-image at 0.3, 2 and 12 megapixels (larger sizes are mosaics at the
photographs' own resolution), JPEG of quality 90. "Before" is the code that decoded with Pillow in
each model, "reduced" the present code with `reduced_jpeg`. They take turns on every image. One
thread, CPU only: the last table computes how many cores a GPU of 50, 100 or 200 images/s needs, and
measures no GPU. Takes a minute.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from parts.feeding_steps import CHECK, COPY, MASK, ON_CPU, After, Before, Step, Way
from parts.photographs import photograph
from parts.report import head, median_and_spread, result_stem, spread_text, table, write
from torch import Tensor

from actors.heap import keep_freed_memory
from actors.images.kept import KEPT
from actors.images.rle import mask_ious

HERE = Path(__file__).parent
SIZES = {"0.3 megapixels": (640, 480), "2 megapixels": (1632, 1224), "12 megapixels": (4000, 3000)}
GPU_RATES = (50, 100, 200)
WAYS = ("before", "after", "reduced")
SIDE = 256  # of SAM 2's mask logits

#: Milliseconds of each step of each contestant, one value an image and round.
Times = dict[str, dict[str, list[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns on each image")
    parser.add_argument("--images", type=int, default=3, help="photographs of each size")
    parser.add_argument("--quick", action="store_true", help="0.3 megapixels only")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the report")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # as every CPU worker does
    sizes = dict(list(SIZES.items())[: 1 if given.quick else None])
    found = {name: measured(*size, given.images, given.rounds) for name, size in sizes.items()}
    report = head() | {"rounds": given.rounds, "images": given.images, "sizes": found}
    write(result_stem(given.out, "feeding", report), report, page(report))


def measured(width: int, height: int, images: int, rounds: int) -> dict[str, Any]:
    """The section of one size of the report."""
    ways: dict[str, Way] = dict(
        zip(WAYS, (Before(), After(), After(reduced_jpeg=True)), strict=True)
    )
    times: Times = {name: {} for name in ways}
    files = [photograph(width, height, number) for number in range(images)]
    for turn in range(rounds + 1):
        for number, data in enumerate(files):
            first = (turn + number) % len(WAYS)
            order = (*WAYS[first:], *WAYS[:first])
            made = {name: run(ways[name], data, times[name]) for name in order}
            if turn == 0:
                check_equal(made["before"], made["after"])
        if turn == 0:  # warms caches and the heap
            times = {name: {} for name in ways}
    return {
        "megapixels": round(width * height / 1e6, 1),
        "file_kb": round(sum(map(len, files)) / len(files) / 1024),
        "steps": {step: {name: figures(times[name][step]) for name in ways} for step in steps()},
        "images_per_second": rates(ways, times),
    }


def steps() -> tuple[str, ...]:
    return (*ON_CPU, COPY, MASK)


def run(way: Way, data: bytes, times: dict[str, list[float]]) -> dict[str, Any]:
    """The results of all steps of one image; adds their milliseconds to `times`."""
    made: dict[str, Any] = {}
    todo: dict[str, Step] = way.steps(data, blob())
    for name, step in todo.items():
        start = time.perf_counter()
        made[name] = step()
        times.setdefault(name, []).append(1000 * (time.perf_counter() - start))
    KEPT.clear()
    KEPT.forget(way)
    return made


def blob() -> Tensor:
    """Mask logits (256, 256) of a wavy disc that covers a sixth of the image."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    radius = 0.45 + 0.05 * np.sin(7 * np.arctan2(y, x))
    return torch.from_numpy((20 * (radius - np.hypot(x, y))).astype(np.float32))


def check_equal(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise SystemExit unless both make the same pixels and inputs, and masks of IoU 0.9999."""
    for step in ON_CPU:
        if step != CHECK and not torch.equal(before[step], after[step]):
            raise SystemExit(f"before and after differ in the step {step!r}")
    if mask_ious([before[MASK]], [after[MASK]])[0, 0] < 0.9999:
        raise SystemExit("the masks of before and after differ")


def figures(times: list[float]) -> dict[str, Any]:
    median, spread = median_and_spread(times)
    return {"ms": median, "spread": spread}


def rates(ways: dict[str, Way], times: Times) -> dict[str, dict[str, float]]:
    """Images a second of one core: all steps on the host, and the host's part before a GPU."""
    found = {}
    for device in ("cpu", "gpu"):
        parts = {name: ON_CPU if device == "cpu" else way.host for name, way in ways.items()}
        found[device] = {
            name: round(1000 / sum(float(np.median(times[name][step])) for step in part), 2)
            for name, part in parts.items()
        }
    return found


def page(report: dict[str, Any]) -> list[str]:
    """The report as Markdown."""
    lines = [f"# Feeding a device, {report['date']}, {report['machine']}", ""]
    lines += [
        f"One thread, medians of {report['images']} photographs and {report['rounds']} rounds, in "
        "turns. JPEG of quality 90, 4:2:0; photographs of scikit-image, mosaics at their own "
        "resolution.",
        "",
    ]
    for name, section in report["sizes"].items():
        lines += [f"## {name} ({section['file_kb']} KB)", ""]
        rows = [
            [step, *(_cell(both[way]) for way in WAYS)] for step, both in section["steps"].items()
        ]
        lines += [*table(["ms an image", *WAYS], rows), ""]
    return [*lines, *_rates(report)]


def _cell(figure: dict[str, Any]) -> str:
    return f"{figure['ms']:.1f} ({spread_text(figure['spread'])})"


def _rates(report: dict[str, Any]) -> list[str]:
    rows, cores = [], []
    for name, section in report["sizes"].items():
        for device, what in (("gpu", "before a GPU"), ("cpu", "all on the CPU")):
            one = section["images_per_second"][device]
            found = [f"{one[way]:.1f} ({one[way] / one['before']:.1f} x)" for way in WAYS]
            rows.append([f"{name}, {what}", *found])
        host = section["images_per_second"]["gpu"]
        needs = [" -> ".join(f"{rate / host[way]:.1f}" for way in WAYS) for rate in GPU_RATES]
        cores.append([name, *needs])
    return [
        "## Images a second of one core, without models and masks",
        "",
        *table(["", *WAYS], rows),
        "",
        "## Cores for a GPU, computed from the rows `before a GPU` (no GPU was measured)",
        "",
        *table(["", *(f"{rate} images/s" for rate in GPU_RATES)], cores),
    ]


if __name__ == "__main__":
    main()
