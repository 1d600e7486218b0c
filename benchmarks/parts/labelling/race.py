"""Run contestants in turns, time them, and make the rows of a table."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from parts.labelling.judge import Contestant, Sample
from parts.report import median_and_spread


@dataclass
class Runs:
    """Wall and CPU seconds of each repeat, and the figures of the last answer.

    Attributes:
        figures: from `Contestant.judge`.
        steps: busy seconds by step, mean over the repeats, including extra threads.
    """

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    figures: dict[str, float | None] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)


def progress_lines() -> Progress:
    """One line per contestant, drawn between runs only: a drawing thread would use CPU time."""
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        auto_refresh=False,
    )


def race(
    title: str,
    contestants: Sequence[Contestant],
    samples: Sequence[Sample],
    repeats: int,
    warm_up: int,
    progress: Progress,
) -> dict[str, Runs]:
    """Run every contestant once per repeat, in turns; each repeat starts with another one.

    `warm_up`: number of images that each contestant processes before the clock starts.
    """
    ready = []
    for contestant in contestants:
        what = f"{title}: {contestant.name}"
        line = progress.add_task(what, total=repeats, rate="warming up")
        progress.refresh()
        contestant.prepare(samples[:warm_up])()
        if contestant.steps is not None:
            contestant.steps.clear()
        ready.append((contestant, line, contestant.prepare(samples), Runs()))
    answers: dict[str, Any] = {}
    for repeat in range(repeats):
        for turn in range(len(ready)):
            contestant, line, run, runs = ready[(repeat + turn) % len(ready)]
            answers.pop(contestant.name, None)
            answers[contestant.name] = _timed(run, runs)
            rate = f"{len(samples) / runs.walls[-1]:.2f} images/s"
            progress.update(line, advance=1, rate=rate, refresh=True)
    for contestant, _, _, runs in ready:
        runs.figures = contestant.judge(answers[contestant.name], samples)
        runs.steps = {k: v / repeats for k, v in (contestant.steps or {}).items()}
    return {contestant.name: runs for contestant, _, _, runs in ready}


def _timed(run: Callable[[], Any], runs: Runs) -> Any:
    gc.collect()
    wait = torch.cuda.synchronize if torch.cuda.is_initialized() else lambda: None
    wait()
    wall, cpu = time.perf_counter(), time.process_time()
    answer = run()
    wait()
    runs.walls.append(time.perf_counter() - wall)
    runs.cpus.append(time.process_time() - cpu)
    return answer


def one_after_the_other(first: Runs, second: Runs) -> Runs:
    """Sums of both, repeat by repeat."""
    return Runs(_sums(first.walls, second.walls), _sums(first.cpus, second.cpus))


def _sums(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    return [a + b for a, b in zip(ones, others, strict=True)]


def rows(runs: dict[str, Runs], ours: str, floor: str, images: int) -> dict[str, Any]:
    """The rows of one table. `ours` and `floor` name the contestants to compare with."""
    table = {}
    for name, each in runs.items():
        median, spread = median_and_spread([images / wall for wall in each.walls])
        table[name] = {
            "images_per_s": median,
            "spread": spread,
            "ours_is": _ratio(each.walls, runs[ours].walls),
            "of_floor": _ratio(runs[floor].walls, each.walls),
            "cpu_ms_per_image": round(1000 * statistics.median(each.cpus) / images, 3),
            "cpu_of_floor": _ratio(runs[floor].cpus, each.cpus),
            **each.figures,
            "busy_s": each.steps,
            "wall_s": each.walls,
            "cpu_s": each.cpus,
        }
    return table


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median of the ratios per repeat, because other load slows both sides of a repeat."""
    return round(statistics.median(a / b for a, b in zip(over, under, strict=True)), 3)
