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
from pipelines.measures.promises import Promise, files_needed, promise_for, promises
from pipelines.measures.risk import area, first_pages

#: Fewest files for a cross-validation, and for figures that mean something.
FEWEST, ENOUGH = 6, 30
#: Default of the probability with which a promise holds.
CONFIDENCE = 0.9
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
    """The model of one training set, and the floors that it can promise something for."""

    model: PageModel
    promises: tuple[Promise, ...]
    target: float

    @property
    def floor(self) -> float | None:
        """The highest accepted estimate for the target; None: no floor promises it."""
        found = promise_for(self.promises, self.target)
        return found.floor if found else None

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
            for the same target, by the same bound, on the same training files.
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
    confidence: float = CONFIDENCE,
    language: str | None = None,
    seed: int = 0,
    repeats: int | None = None,
    on_fold: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Fit the calibration of one engine and test it on held-out files.

    Args:
        sample: of `FEWEST` files or more.
        target: character error rate, 0..1, of the accepted pages together.
        confidence: probability, 0..1 exclusive, with which the target is met on other files.
        repeats: number of cross-validations; None: 5, or 2 above 300 pages.
        on_fold: called with (finished folds, all folds).

    Raises ConfigError with fewer files.
    """
    _refuse_few(sample)
    repeats = repeats or (5 if len(sample) <= 300 else 2)
    trial = _trial(sample, (target, confidence), seed, repeats, on_fold)
    chosen = choose(sample, np.arange(len(sample)), target, confidence, seed)
    calibration = _calibration(sample, chosen, _held_out(sample, trial, seed), confidence, language)
    return Report(calibration, sample, trial, seed, tuple(_warnings(calibration, sample)))


def _calibration(
    sample: Sample, chosen: Chosen, held_out: HeldOut, confidence: float, language: str | None
) -> Calibration:
    return Calibration(
        **chosen.model.model_dump(),
        engine=sample.engine,
        language=language,
        counts_blanks=sample.counts_blanks,
        confidence=confidence,
        promises=chosen.promises,
        target_cer=chosen.target,
        floor=chosen.floor,
        pages=len(sample),
        files=sample.files,
        sample_lines=len(sample.seen.scores),
        characters=int(sample.pages.characters.sum()),
        held_out=held_out,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _refuse_few(sample: Sample) -> None:
    if sample.files < FEWEST:
        raise ConfigError(
            f"{sample.files} files with truth were read by {sample.engine}: too few to "
            "cross-validate",
            f"label {FEWEST} files or more; figures mean something from {ENOUGH} files on",
        )


def choose(sample: Sample, pages: Ints, target: float, confidence: float, seed: int) -> Chosen:
    """Choose features and floors by cross-validation on these pages, and fit the model to them."""
    counts = sample.pages.of(pages)
    rounds = [out_of_fold(sample, pages, seed + number) for number in range(_INNER)]
    areas = {
        names: float(np.mean([area(found[names], counts) for found in rounds]))
        for names in rounds[0]
        if all(names in found for found in rounds)
    }
    names = best_of(areas)
    held_out = _together([found[names] for found in rounds])
    found = promises(held_out, counts, confidence)
    return Chosen(fit_pages(sample, pages, names), found, target)


def _together(rounds: list[Floats]) -> Floats:
    """Mean of (pages,) estimates; worse than the sample (above 1) if most rounds say so."""
    worse = np.array(rounds) > 1
    mean: Floats = (np.array(rounds) - worse).mean(axis=0)
    return mean + (worse.mean(axis=0) > 0.5)


def _trial(
    sample: Sample,
    asked: tuple[float, float],
    seed: int,
    repeats: int,
    on_fold: Callable[[int, int], None],
) -> Trial:
    """`asked`: target and confidence."""
    expected, mean_scores = np.zeros((repeats, len(sample))), sample.mean_scores
    accepted, naive, naive_floor = (np.zeros((repeats, len(sample)), bool) for _ in range(3))
    folds = [
        (repeat, *fold)
        for repeat in range(repeats)
        for fold in folds_of(sample.pages.files, seed + 1000 + repeat, FOLDS)
    ]
    for number, (repeat, train, held) in enumerate(folds):
        on_fold(number, len(folds))
        chosen = choose(sample, train, *asked, seed + _INNER * number)
        expected[repeat, held], accepted[repeat, held] = chosen.judge(sample, held)
        by_mean = promises(1 - mean_scores[train], sample.pages.of(train), asked[1])
        floor = promise_for(by_mean, asked[0])
        naive_floor[repeat, held] = floor is not None and 1 - mean_scores[held] <= floor.floor
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
    found, held = [], calibration.held_out
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
        found.append(_out_of_reach(calibration))
    if held.cer and held.naive_cer and held.naive_cer.value <= held.cer.value:
        found.append("a floor on the mean score does as well here: this calibration gains nothing")
    return found


def _out_of_reach(made: Calibration) -> str:
    """What the sample can promise instead, and how many files the target needs."""
    target, files = f"{100 * made.target_cer:g} %", made.files
    sure = f"with a confidence of {100 * made.confidence:g} %"
    if made.promises:
        lowest = made.promises[0]
        text = (
            f"{files} files cannot promise a CER of {target} {sure}: the lowest is "
            f"{100 * lowest.promised_cer:.2f} %, for {100 * lowest.share:.0f} % of the pages"
        )
    else:
        text = f"{files} files cannot promise any CER {sure}"
    if needed := files_needed(made.promises, files, made.target_cer):
        return (
            f"{text}; {target} for {100 * needed[1]:.0f} % of the pages needs about "
            f"{needed[0]:,} files"
        )
    return f"{text}; a larger sample does not promise {target} either"


def shown(figure: Interval | None) -> str:
    """An interval in percent, such as `1.98 % (1.20 .. 2.90)`."""
    if figure is None:
        return "-"
    return f"{100 * figure.value:.2f} % ({100 * figure.low:.2f} .. {100 * figure.high:.2f})"
