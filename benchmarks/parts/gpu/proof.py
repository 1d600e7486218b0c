"""The sections of `benchmarks/gpu.py`: measures them and keeps the report on disk up to date."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import transformers

from parts.gpu import checkpoints, segmentation
from parts.gpu.lines import lines
from parts.gpu.meter import Clock, Meter, Row, dollars_per_million
from parts.gpu.pictures import pictures
from parts.gpu.sharing import Shared, images_per_s
from parts.gpu.task import OURS, Task
from parts.labelling.judge import NAMES
from parts.report import write

#: Seconds that a process needs to start and load both models, about.
STARTS = 25
#: Objects per picture that pass the threshold, about; pictures of the parity check.
OBJECTS, CHECKED = 20, 4
PAIRS = (
    (checkpoints.DINO_TINY, checkpoints.SAM2_TINY),
    (checkpoints.DINO_BASE, checkpoints.SAM2_LARGE),
)


@dataclass(frozen=True)
class Section:
    """A model on pictures of one size. `ours_only`: only our contestants, without parity."""

    kind: ModuleType
    model: str
    large: bool = True
    ours_only: bool = False

    def title(self, arguments: argparse.Namespace) -> str:
        model = f"{self.model} (a small one in its place)" if arguments.tiny else self.model
        return f"{model}, {arguments.megapixels[self.large]:g} megapixels"


class Run:
    """Measures sections and keeps the report on disk up to date."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        clock: Clock,
        work: Path,
        about: dict[str, str],
        stem: Path,
    ) -> None:
        """`work`: folder of checkpoints. `about`, `stem`: see `parts.report`."""
        self.arguments, self.work, self.clock, self._stem = arguments, work, clock, stem
        self.meter = Meter(arguments.device, clock, arguments.turns, arguments.seconds)
        self.names = NAMES[:5]
        self._thresholds: dict[str, float] = {}
        size = "small models" if arguments.tiny else "full-size models, random weights"
        self.report: dict[str, Any] = about | {
            "rehearsal": arguments.rehearsal,
            "weights": size,
            "device": arguments.device,
            "names": self.names,
            "objects": f"about {OBJECTS} objects a picture, SAM 2: {segmentation.OBJECTS}",
            "turns": arguments.turns,
            "seconds": arguments.seconds,
            "dollars_per_hour": arguments.dollars,
            "torch_threads": torch.get_num_threads(),
            "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "sections": {},
            "pairs": [],
            "sharing": [],
        }

    def measure(self, section: Section) -> None:
        """Measure one section, or note why not."""
        title = section.title(self.arguments)
        print(f"{self.clock.left():.0f} s left: {title}", flush=True)
        result: dict[str, Any] = {"model": section.model, "rows": []}
        self.report["sections"][title] = result
        least = 4 * self.arguments.seconds
        if self.clock.left() < least:
            result["missing"] = "no time left"
            return
        try:
            self._measure(section, result)
        except Exception as error:  # a model that does not load must not cost the others
            result["missing"] = f"{type(error).__name__}: {str(error)[:500]}"
        gc.collect()
        if self.arguments.device == "cuda":
            torch.cuda.empty_cache()

    def _measure(self, section: Section, result: dict[str, Any]) -> None:
        arguments = self.arguments
        small, large = (pictures(size, arguments.pictures) for size in arguments.megapixels)
        task = self._task(section.model)
        if section.kind is not segmentation:
            task = section.kind.with_threshold(task, large[0], OBJECTS)
            result["threshold"] = self._thresholds[section.model] = task.threshold
        contestants = section.kind.contestants(task, arguments.batches)
        if section.ours_only:
            contestants = [one for one in contestants if one.role == OURS]
        else:
            half = CHECKED // 2
            result["parity"] = self._parity(section, task, [*small[:half], *large[:half]])

        def record(rows: Sequence[Row]) -> None:
            result["rows"] = [row.figures(arguments.dollars) for row in rows]
            self.save("The run is not finished.")

        self.meter.race(contestants, large if section.large else small, record)

    def _parity(self, section: Section, task: Task, images: Sequence[bytes]) -> dict[str, Any]:
        try:
            found: dict[str, Any] = section.kind.parity(task, images)
        except Exception as error:
            found = {"missing": f"{type(error).__name__}: {str(error)[:500]}", "within": False}
        return found

    def share(self) -> None:
        """Measure several processes with both small models, if the rates of one are known."""
        arguments, (detector, segmenter) = self.arguments, PAIRS[0]
        known = {(row["role"], row["batch"]): row for row in self.report["pairs"]}
        rate = known.get((OURS, arguments.batches[0]), {}).get("images_per_s")
        threshold = self._thresholds.get(detector)
        for workers in arguments.workers:
            row: dict[str, Any] = {"workers": workers}
            self.report["sharing"].append(row)
            if rate is None or threshold is None or self.clock.left() < STARTS:
                row["missing"] = "no time left"
                continue
            batches = max(1, round(2 * arguments.seconds * rate / arguments.batches[0]))
            shared = Shared(
                replace(self._task(detector), threshold=threshold),
                self._task(segmenter),
                arguments.batches[0],
                batches * arguments.batches[0],
                arguments.pictures,
                arguments.megapixels[1],
            )
            print(f"{self.clock.left():.0f} s left: {workers} workers", flush=True)
            try:
                row["images_per_s"] = round(images_per_s(shared, workers), 3)
            except Exception as error:
                row["missing"] = f"{type(error).__name__}: {str(error)[:300]}"
            self.save("The run is not finished.")

    def _task(self, model: str) -> Task:
        folder = checkpoints.checkpoint(model, self.work, self.arguments.tiny)
        return Task(folder, self.arguments.device, self.names)

    def save(self, ended: str, show: bool = False) -> None:
        """Write the report as it stands."""
        self.report["ended"] = ended
        self.report["pairs"] = _pairs(self.report["sections"].values(), self.arguments.dollars)
        write(self._stem, self.report, lines(self.report), show)

    @property
    def exit_code(self) -> int:
        """1 if parity is outside its limits or a section or a contestant failed, else 0."""
        sections = self.report["sections"].values()
        unequal = [one for one in sections if not one.get("parity", {}).get("within", True)]
        failed = [
            one["missing"]
            for section in sections
            for one in (section, *section["rows"], *self.report["sharing"])
            if one.get("missing", "no time left") != "no time left"
        ]
        for reason in failed:
            print(f"failed: {reason}", file=sys.stderr)
        return int(bool(unequal or failed))


def _pairs(sections: Iterable[dict[str, Any]], dollars: float | None) -> list[dict[str, Any]]:
    """Both models of a pair one after the other, by role and batch, on large pictures."""
    rates: dict[str, dict[tuple[str, int], float]] = {}
    for section in sections:
        found = {
            (row["role"], row["batch"]): row["images_per_s"]
            for row in section["rows"]
            if "images_per_s" in row
        }
        rates.setdefault(section["model"], found)  # the first section of a model has large pictures
    pairs = []
    for one, other in PAIRS:
        for key in rates.get(one, {}).keys() & rates.get(other, {}).keys():
            rate = 1 / (1 / rates[one][key] + 1 / rates[other][key])
            pairs.append(
                {
                    "models": [one, other],
                    "role": key[0],
                    "batch": key[1],
                    "images_per_s": round(rate, 3),
                    "dollars_per_million": dollars_per_million(rate, dollars),
                }
            )
    return sorted(pairs, key=lambda row: (PAIRS.index((*row["models"],)), -row["images_per_s"]))
