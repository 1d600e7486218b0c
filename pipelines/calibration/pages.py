"""Calibrate one engine: choose the evidence, fit, choose the floor, and say what it is worth.

Every figure that is reported is held out: the choice of the features and of the floor happens
inside the training files of each fold (nested cross-validation over files), as it happens for the
file that is written, on all of them.
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

#: Fewer files than this cannot be cross-validated, fewer than `ENOUGH` say next to nothing.
FEWEST, ENOUGH = 6, 30
#: An upper end this many times the target proves nothing: at a page-to-page spread as large as the
#: mean, which receipts have, it takes about 70 accepted pages to come below.
UNPROVEN = 1.5
#: Folds that figures are reported on: models of nine tenths of the sample are near the one that is
#: written, and the estimates of different folds fit together better. Mean CER along the curve of 63
#: receipts, ranked by fits to the mean score alone: 1.66 % with 5 folds, 1.62 with 10; by the score
#: itself, which no fold disturbs, 1.56.
FOLDS = 10
#: Cross-validations, of 5 folds, that choose features and floor together: which features win on 63
#: receipts hangs on the folds.
_INNER = 3


@dataclass(frozen=True)
class Chosen:
    """What one training set decided: the model, and the highest estimate that is accepted."""

    model: PageModel
    floor: float | None

    def judge(self, sample: Sample, pages: Ints) -> tuple[Floats, Bools]:
        """(expected error rates, accepted) of pages."""
        found = estimates(self.model, sample.features(self.model.lines, pages))
        return found, found <= (-1 if self.floor is None else self.floor)


@dataclass(frozen=True)
class Trial:
    """What held-out pages got, R repeats of n pages.

    Attributes:
        expected: (R, n) expected error rates; above 1: worse than the sample.
        accepted: (R, n).
        naive: (R, n) pages that a floor on the mean score accepts, as many in each repeat.
        naive_floor: (R, n) pages that the mean score accepts by a floor of its own, chosen for the
            same target in the same training files.
    """

    expected: Floats
    accepted: Bools
    naive: Bools
    naive_floor: Bools


@dataclass(frozen=True)
class Report:
    """A calibration and how it came to be. `seed`: of the folds and of the bootstrap."""

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
    """Fit the calibration of one engine and try it on held-out files.

    Args:
        sample: of `FEWEST` files or more.
        target: character error rate, 0..1, of the accepted pages together.
        repeats: of the cross-validation; None: 5, or 2 above 300 pages.
        on_fold: told (folds done, folds in all).

    Raises ConfigError with fewer.
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
            f"label {FEWEST} or more; {ENOUGH} begin to say something",
        )


def choose(sample: Sample, pages: Ints, target: float, seed: int) -> Chosen:
    """The features and the floor that cross-validation on these pages prefers."""
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
    """Mean of (pages,) estimates; worse than the sample (above 1) is what most rounds call so."""
    worse = np.array(rounds) > 1
    mean: Floats = (np.array(rounds) - worse).mean(axis=0)
    return mean + (worse.mean(axis=0) > 0.5)


def _written(floor: float) -> float:
    """A floor as it stands in a config: 6 digits, rounded up so that its own page stays in."""
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
    """What a reader must know before he believes the figures."""
    found, held, target = [], calibration.held_out, f"{100 * calibration.target_cer:.1f} %"
    if calibration.files < ENOUGH:
        found.append(
            f"{calibration.files} files are a small sample: from {ENOUGH} on the figures begin to "
            "mean something"
        )
    if sample.reviewed == len(sample) and PageOutcome.OCR not in sample.outcomes:
        found.append(
            "all truth comes from the review queue, which holds the pages in doubt: add truth of "
            "pages that were accepted, or the figures are of doubtful pages only"
        )
    if calibration.floor is None:
        found.append(f"no floor brings the CER of the accepted pages to {target}")
    if held.cer and held.cer.high > UNPROVEN * calibration.target_cer:
        found.append(
            f"too small a sample to prove the target of {target}: the CER of the accepted pages is "
            f"{shown(held.cer)} (95 %)"
        )
    if held.cer and held.naive_cer and held.naive_cer.value <= held.cer.value:
        found.append(
            "a floor on the mean score does as well here: nothing is won by this calibration"
        )
    return found


def shown(figure: Interval | None) -> str:
    """An interval in percent."""
    if figure is None:
        return "-"
    return f"{100 * figure.value:.2f} % ({100 * figure.low:.2f} .. {100 * figure.high:.2f})"
