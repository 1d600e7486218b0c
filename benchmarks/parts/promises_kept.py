"""How often a floor delivers on other files what its calibration promised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parts.pages.simulated_pages import simulated
from parts.report import table
from pipelines.calibration.fit import estimates
from pipelines.calibration.pages import choose
from pipelines.calibration.sample import Sample
from pipelines.measures.intervals import Bools, Ints
from pipelines.measures.promises import promise_for


@dataclass
class Kept:
    """The splits of one target: shares of accepted pages, and CERs of those that accepted any."""

    files: int
    target: float
    kept: list[bool] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    cers: list[float] = field(default_factory=list)
    without_floor: int = 0

    def add(self, sample: Sample, pages: Ints, accepted: Bools, has_floor: bool) -> None:
        """Judge the accepted ones of the pages; a split without a floor keeps its promise."""
        taken = sample.pages.of(pages[accepted])
        self.without_floor += not has_floor
        self.shares.append(float(accepted.mean()))
        cer = taken.errors.sum() / taken.characters.sum() if len(taken) else None
        self.kept.append(cer is None or cer <= self.target)
        if cer is not None:
            self.cers.append(cer)

    def row(self) -> dict[str, Any]:
        """The figures, rounded. `kept_with_floor`: of the splits that have a floor."""
        count, floors = len(self.kept), len(self.kept) - self.without_floor
        return {
            "files": self.files,
            "target": self.target,
            "splits": count,
            "kept": round(sum(self.kept) / count, 3),
            "without_floor": round(self.without_floor / count, 3),
            "kept_with_floor": round((sum(self.kept) - self.without_floor) / floors, 3)
            if floors
            else None,
            "share": round(float(np.mean(self.shares)), 3),
            "cer": round(float(np.mean(self.cers)), 5) if self.cers else None,
        }


def on_halves(
    sample: Sample, targets: Sequence[float], confidence: float, splits: int, seed: int
) -> list[dict[str, Any]]:
    """Calibrate on a random half of the files, and judge the other half."""
    names = np.unique(sample.pages.files)

    def halves() -> Iterator[tuple[Sample, Ints, Sample, Ints]]:
        for number in range(splits):
            taken = np.random.default_rng(seed + number).permutation(names)[: len(names) // 2]
            inside = np.isin(sample.pages.files, taken)
            yield sample, np.flatnonzero(inside), sample, np.flatnonzero(~inside)

    return _judged(halves(), len(names) // 2, targets, confidence)


def on_simulated(
    files: int,
    targets: Sequence[float],
    confidence: float,
    splits: int,
    seed: int,
    others: int = 1500,
) -> list[dict[str, Any]]:
    """Calibrate on `files` new files in each split, and judge `others` of the same law."""
    judge = simulated(others, seed)

    def draws() -> Iterator[tuple[Sample, Ints, Sample, Ints]]:
        for number in range(splits):
            train = simulated(files, seed + 1 + number)
            yield train, np.arange(len(train)), judge, np.arange(len(judge))

    return _judged(draws(), files, targets, confidence)


def _judged(
    splits: Iterator[tuple[Sample, Ints, Sample, Ints]],
    files: int,
    targets: Sequence[float],
    confidence: float,
) -> list[dict[str, Any]]:
    found = [Kept(files, target) for target in targets]
    for number, (sample, train, others, held) in enumerate(splits):
        chosen = choose(sample, train, targets[0], confidence, number)
        values = estimates(chosen.model, others.features(chosen.model.lines, held))
        for one in found:
            promise = promise_for(chosen.promises, one.target)
            accepted = values <= (promise.floor if promise else -1)
            one.add(others, held, accepted, promise is not None)
    return [one.row() for one in found]


def promise_lines(report: dict[str, Any]) -> list[str]:
    """Markdown of a report's `promises` and `kept`."""
    sure = f"{100 * report['confidence']:g} %"
    return [
        f"Floors of all files, for a promise with {sure} confidence (CER {report['cer']}):",
        "",
        *table(
            ["promised CER", "expected CER", "pages accepted"],
            [
                [_percent(one[name]) for name in ("promised_cer", "expected_cer", "share")]
                for one in report["promises"]
            ],
        ),
        "",
        f"Splits whose floor delivered the target on the other files; at least {sure} should. A "
        "split without a floor accepts nothing, and so breaks no promise.",
        "",
        *table(
            [
                *("files", "calibrated on", "target", "splits", "kept", "without a floor"),
                *("kept with a floor", "pages accepted", "CER of accepted"),
            ],
            [_row(name, one) for name, rows in report["kept"].items() for one in rows],
        ),
    ]


def _row(name: str, one: dict[str, Any]) -> list[str]:
    figures = ("kept", "without_floor", "kept_with_floor", "share", "cer")
    about = [name, str(one["files"]), f"{100 * one['target']:g} %", str(one["splits"])]
    return [*about, *(_percent(one[figure]) for figure in figures)]


def _percent(figure: float | None) -> str:
    return "-" if figure is None else f"{100 * figure:.2f} %"
