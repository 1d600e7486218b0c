"""Calibrate one engine: choose the evidence, fit, choose the floor, and say what it is worth.

Every figure that is reported is held out: the choice of the features, of the isotonic map and of
the floor happens inside the training files of each fold (nested cross-validation over files), as it
happens for the file that is written, on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from pipelines.calibrate_fit import (
    best_of,
    estimates,
    fit_pages,
    folds_of,
    out_of_fold,
    steps_for,
)
from pipelines.calibrate_sample import Sample
from pipelines.calibration import Calibration, HeldOut, Interval, PageModel
from pipelines.errors import ConfigError
from pipelines.risk import Bools, Floats, Ints, area, first_pages, floor_for, ratio

#: Fewer files than this cannot be cross-validated, fewer than `ENOUGH` say next to nothing.
FEWEST, ENOUGH = 6, 30
#: An upper end this many times the target proves nothing: at a page-to-page spread as large as the
#: mean, which receipts have, it takes about 70 accepted pages to come below.
UNPROVEN = 1.5
#: Breaks ties of the isotonic map by the estimate before it.
_TIES = 1e-6


@dataclass(frozen=True)
class Chosen:
    """What one training set decided: the model, and the highest estimate that is accepted."""

    model: PageModel
    floor: float | None

    def judge(self, sample: Sample, pages: Ints) -> tuple[Floats, Bools]:
        """Of pages: (expected error rates, ties broken by the raw estimate; accepted)."""
        values = sample.features(self.model.lines, pages)
        found = estimates(self.model, values)
        accepted = found <= (-1 if self.floor is None else self.floor)
        raw = estimates(self.model.model_copy(update={"steps": None}), values)
        return found + _TIES * raw, accepted


@dataclass(frozen=True)
class Trial:
    """What held-out pages got, R repeats of n pages.

    Attributes:
        expected: (R, n) expected error rates; above 1: worse than the sample.
        accepted: (R, n).
        naive: (R, n) pages that a floor on the mean score accepts, as many in each repeat.
    """

    expected: Floats
    accepted: Bools
    naive: Bools


@dataclass(frozen=True)
class Report:
    """A calibration and how it came to be."""

    calibration: Calibration
    sample: Sample
    trial: Trial
    warnings: tuple[str, ...]


def calibrate(
    sample: Sample,
    target: float,
    *,
    language: str | None = None,
    seed: int = 0,
    repeats: int | None = None,
    on_fold: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Fit the calibration of one engine and try it on held-out files.

    Args:
        sample: of at least `FEWEST` files.
        target: character error rate, 0..1, of the accepted pages together.
        repeats: of the cross-validation; None: 10, or 3 above 300 pages.
        on_fold: told (folds done, folds in all).

    Raises ConfigError if there are too few files to cross-validate.
    """
    files = len(np.unique(sample.pages.files))
    if files < FEWEST:
        raise ConfigError(
            f"{files} files with truth were read by {sample.engine}: too few to cross-validate",
            f"label {FEWEST} or more; {ENOUGH} begin to say something",
        )
    repeats = repeats or (10 if len(sample) <= 300 else 3)
    trial = _trial(sample, target, seed, repeats, on_fold)
    every = np.arange(len(sample))
    chosen = choose(sample, every, target, seed, repeats=5)
    held_out = _held_out(sample, trial, seed)
    calibration = Calibration(
        **chosen.model.model_dump(),
        engine=sample.engine,
        language=language,
        target_cer=target,
        floor=chosen.floor,
        pages=len(sample),
        files=files,
        sample_lines=len(sample.seen.scores),
        characters=int(sample.pages.characters.sum()),
        held_out=held_out,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Report(calibration, sample, trial, tuple(_warnings(calibration)))


def choose(sample: Sample, pages: Ints, target: float, seed: int, repeats: int = 1) -> Chosen:
    """The features, the map and the floor that cross-validation on these pages prefers."""
    counts = sample.pages.of(pages)
    rounds = [out_of_fold(sample, pages, seed + number) for number in range(repeats)]
    areas = {
        names: float(np.mean([area(found[names], counts) for found in rounds]))
        for names in rounds[0]
        if all(names in found for found in rounds)
    }
    names = best_of(areas)
    estimated = np.mean([found[names] for found in rounds], axis=0)
    steps = steps_for(estimated, counts, seed)
    mapped = (
        estimated if steps is None else np.where(estimated <= 1, steps.at(estimated), estimated)
    )
    floor = floor_for(mapped, counts, target)
    model = fit_pages(sample, pages, names).model_copy(update={"steps": steps})
    return Chosen(model, None if floor is None else min(floor, 1.0))


def _trial(
    sample: Sample, target: float, seed: int, repeats: int, on_fold: Callable[[int, int], None]
) -> Trial:
    expected = np.zeros((repeats, len(sample)))
    accepted = np.zeros((repeats, len(sample)), bool)
    naive = np.zeros((repeats, len(sample)), bool)
    folds = [
        (repeat, *fold)
        for repeat in range(repeats)
        for fold in folds_of(sample.pages.files, seed + 1000 + repeat)
    ]
    for number, (repeat, train, held) in enumerate(folds):
        on_fold(number, len(folds))
        chosen = choose(sample, train, target, seed + number)
        expected[repeat, held], accepted[repeat, held] = chosen.judge(sample, held)
    for repeat in range(repeats):
        naive[repeat] = first_pages(-sample.mean_scores, int(accepted[repeat].sum()))
    return Trial(expected, accepted, naive)


def _held_out(sample: Sample, trial: Trial, seed: int) -> HeldOut:
    pages, draws = sample.pages, sample.pages.draws(seed)
    ours, naive = trial.accepted.mean(axis=0), trial.naive.mean(axis=0)
    share = ratio(ours, np.ones(len(pages)), draws)
    of_all = ratio(pages.errors, pages.characters, draws)
    if share is None or of_all is None:
        raise ValueError("a sample has pages and characters")
    return HeldOut(
        share_accepted=share,
        cer=ratio(pages.errors * ours, pages.characters * ours, draws),
        naive_cer=ratio(pages.errors * naive, pages.characters * naive, draws),
        cer_of_all=of_all,
    )


def _warnings(calibration: Calibration) -> list[str]:
    """What a reader must know before he believes the figures."""
    found, held = [], calibration.held_out
    if calibration.files < ENOUGH:
        found.append(
            f"{calibration.files} files are a small sample: from {ENOUGH} on the figures begin to "
            "mean something"
        )
    if calibration.floor is None:
        found.append(
            f"no floor brings the CER of the accepted pages to {100 * calibration.target_cer:.1f} %"
        )
    if held.cer and held.cer.high > UNPROVEN * calibration.target_cer:
        found.append(
            f"too small a sample to prove the target of {100 * calibration.target_cer:.1f} %: the "
            f"CER of the accepted pages is {shown(held.cer)} (95 %)"
        )
    return found


def shown(figure: Interval | None) -> str:
    """An interval in percent."""
    if figure is None:
        return "-"
    return f"{100 * figure.value:.2f} % ({100 * figure.low:.2f} .. {100 * figure.high:.2f})"
