"""Calibrate one engine: choose features, fit the models, choose the floor, report the figures.

Every reported figure is held out: features and floor are chosen inside the training files of each
fold (nested cross-validation over files). The calibration file is made in the same way from all
files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from pipelines.calibration.fit import best_of, estimates, fit_pages, folds_of, out_of_fold
from pipelines.calibration.sample import Sample
from pipelines.decisions.error_model import Calibration, HeldOut, PageModel
from pipelines.decisions.routing import PageOutcome
from pipelines.errors import ConfigError
from pipelines.measures.intervals import Bools, Floats, Interval, Ints, ratio
from pipelines.measures.risk import area, first_pages, floor_for

#: Fewest files for a cross-validation, and for figures that mean something.
FEWEST, ENOUGH = 6, 30
#: Warn if the upper end of the CER's interval is more than this many times the target. CERs of
#: receipts spread as far as their mean; then it takes about 70 accepted pages to stay below.
UNPROVEN = 1.5
#: Folds of the reported figures. With 10 folds each model has nine tenths of the sample, so it is
#: close to the final one, and estimates of different folds are comparable. Mean CER along the risk
#: curve of 63 receipts, ranked by fits to the mean score alone: 1.66 % with 5 folds, 1.62 % with
#: 10; ranked by the score itself, without folds: 1.56 %.
FOLDS = 10
#: Number of 5-fold cross-validations that choose features and floor together: on 63 receipts the
#: winning features depend on the folds.
_INNER = 3


@dataclass(frozen=True)
class Chosen:
    """The model of one training set, and its floor: the highest accepted estimate."""

    model: PageModel
    floor: float | None

    def judge(self, sample: Sample, pages: Ints) -> tuple[Floats, Bools]:
        """(expected error rates, accepted) of pages."""
        found = estimates(self.model, sample.features(self.model.lines, pages))
        return found, found <= (-1 if self.floor is None else self.floor)


@dataclass(frozen=True)
class Trial:
    """Estimates and decisions for held-out pages, R repeats of n pages.

    Attributes:
        expected: (R, n) expected error rates; above 1: worse than the sample.
        accepted: (R, n) whether the calibration accepts the page.
        naive: (R, n) as many pages in each repeat, those with the highest mean scores.
        naive_floor: (R, n) whether a floor on the mean score accepts the page; the floor is chosen
            for the same target on the same training files.
    """

    expected: Floats
    accepted: Bools
    naive: Bools
    naive_floor: Bools


@dataclass(frozen=True)
class Report:
    """A calibration with its sample and trial. `seed`: of the folds and of the bootstrap."""

    calibration: Calibration
    sample: Sample
    trial: Trial
    seed: int
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
    """Fit the calibration of one engine and test it on held-out files.

    Args:
        sample: of `FEWEST` files or more.
        target: character error rate, 0..1, of the accepted pages together.
        repeats: number of cross-validations; None: 5, or 2 above 300 pages.
        on_fold: called with (finished folds, all folds).

    Raises ConfigError with fewer files.
    """
    files = len(np.unique(sample.pages.files))
    _refuse_few(files, sample.engine)
    trial = _trial(sample, target, seed, repeats or (5 if len(sample) <= 300 else 2), on_fold)
    chosen = choose(sample, np.arange(len(sample)), target, seed)
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
        held_out=_held_out(sample, trial, seed),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Report(calibration, sample, trial, seed, tuple(_warnings(calibration, sample)))


def _refuse_few(files: int, engine: str) -> None:
    if files < FEWEST:
        raise ConfigError(
            f"{files} files with truth were read by {engine}: too few to cross-validate",
            f"label {FEWEST} files or more; figures mean something from {ENOUGH} files on",
        )


def choose(sample: Sample, pages: Ints, target: float, seed: int) -> Chosen:
    """Choose features and floor by cross-validation on these pages, and fit the model to them."""
    counts = sample.pages.of(pages)
    rounds = [out_of_fold(sample, pages, seed + number) for number in range(_INNER)]
    areas = {
        names: float(np.mean([area(found[names], counts) for found in rounds]))
        for names in rounds[0]
        if all(names in found for found in rounds)
    }
    names = best_of(areas)
    floor = floor_for(_together([found[names] for found in rounds]), counts, target)
    model = fit_pages(sample, pages, names)
    return Chosen(model, None if floor is None else min(_written(floor), 1.0))


def _together(rounds: list[Floats]) -> Floats:
    """Mean of (pages,) estimates; worse than the sample (above 1) if most rounds say so."""
    worse = np.array(rounds) > 1
    mean: Floats = (np.array(rounds) - worse).mean(axis=0)
    return mean + (worse.mean(axis=0) > 0.5)


def _written(floor: float) -> float:
    """The floor for the config: 6 digits, rounded up so that the page at the floor stays in."""
    return float(np.ceil(floor * 1e6) / 1e6)


def _trial(
    sample: Sample, target: float, seed: int, repeats: int, on_fold: Callable[[int, int], None]
) -> Trial:
    expected, mean_scores = np.zeros((repeats, len(sample))), sample.mean_scores
    accepted, naive, naive_floor = (np.zeros((repeats, len(sample)), bool) for _ in range(3))
    folds = [
        (repeat, *fold)
        for repeat in range(repeats)
        for fold in folds_of(sample.pages.files, seed + 1000 + repeat, FOLDS)
    ]
    for number, (repeat, train, held) in enumerate(folds):
        on_fold(number, len(folds))
        chosen = choose(sample, train, target, seed + _INNER * number)
        expected[repeat, held], accepted[repeat, held] = chosen.judge(sample, held)
        floor = floor_for(-mean_scores[train], sample.pages.of(train), target)
        naive_floor[repeat, held] = False if floor is None else -mean_scores[held] <= floor
    on_fold(len(folds), len(folds))
    for repeat in range(repeats):
        naive[repeat] = first_pages(-mean_scores, int(accepted[repeat].sum()))
    return Trial(expected, accepted, naive, naive_floor)


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


def _warnings(calibration: Calibration, sample: Sample) -> list[str]:
    """Limits of the figures, for the user."""
    found, held, target = [], calibration.held_out, f"{100 * calibration.target_cer:.1f} %"
    if calibration.files < ENOUGH:
        found.append(
            f"{calibration.files} files are a small sample: figures mean something from {ENOUGH} "
            "files on"
        )
    if sample.reviewed == len(sample) and PageOutcome.OCR not in sample.outcomes:
        found.append(
            "all truth comes from the review queue, so the figures are of doubtful pages only: add "
            "truth of accepted pages"
        )
    if calibration.floor is None:
        found.append(f"no floor brings the CER of the accepted pages to {target}")
    if held.cer and held.cer.high > UNPROVEN * calibration.target_cer:
        found.append(
            f"the sample is too small to prove the target of {target}: the CER of the accepted "
            f"pages is {shown(held.cer)} (95 %)"
        )
    if held.cer and held.naive_cer and held.naive_cer.value <= held.cer.value:
        found.append("a floor on the mean score does as well here: this calibration gains nothing")
    return found


def shown(figure: Interval | None) -> str:
    """An interval in percent, such as `1.98 % (1.20 .. 2.90)`."""
    if figure is None:
        return "-"
    return f"{100 * figure.value:.2f} % ({100 * figure.low:.2f} .. {100 * figure.high:.2f})"
