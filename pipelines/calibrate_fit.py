"""Fitting: lines by isotonic regression, pages by logistic regression. Uses scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.calibrate_sample import LinesSeen, Sample
from pipelines.calibration import FEATURES, ROUNDING, LineModel, PageModel, Steps
from pipelines.risk import Floats, Ints, Pages

#: Sets of features that compete, simple ones first. More of them, or other regularisation, was no
#: better in the cross-validation on 63 receipts.
CANDIDATES = (
    ("mean_score",),
    ("line_risk",),
    ("line_risk", "weak_characters"),
    ("line_risk", "missed_ink"),
    ("line_risk", "weak_characters", "missed_ink", "garbled"),
)
#: A richer set has to be this much better under cross-validation than the best simpler one.
_WORTH_IT = 0.97
#: Inverse strength of the penalty, in pages: 0.1 lost 0.4 points of CER on 63 receipts, 10 nothing.
_C = 1.0
#: Bands of line length: a short line's score says less. Upper ends, in characters.
_BANDS = (3, 8, 10_000)
#: A band with fewer lines than this takes the map of all lines.
_LINES_OF_A_BAND = 100
_FOLDS = 5


def folds_of(files: Ints, seed: int, count: int = _FOLDS) -> Iterator[tuple[Ints, Ints]]:
    """(training pages, held-out pages) of each fold; the pages of one file stay together."""
    names = np.random.default_rng(seed).permutation(np.unique(files))
    for part in np.array_split(names, min(count, len(names))):
        out = np.isin(files, part)
        yield np.flatnonzero(~out), np.flatnonzero(out)


def fit_lines(seen: LinesSeen) -> LineModel | None:
    """Error rate of a line by its score, falling, by length; None with too few lines."""
    if len(seen.scores) < _LINES_OF_A_BAND:
        return None
    wrong = seen.errors / seen.characters
    whole = _falling(seen.scores, wrong, seen.characters)
    bands, least = [], 0
    for most in _BANDS:
        there = (seen.characters > least) & (seen.characters <= most)
        enough = np.count_nonzero(there) >= _LINES_OF_A_BAND
        bands.append(
            _falling(seen.scores[there], wrong[there], seen.characters[there]) if enough else whole
        )
        least = most
    return LineModel(up_to=_BANDS, bands=tuple(bands))


def _falling(scores: Floats, wrong: Floats, weights: Ints) -> Steps:
    """Falling: the rising map of 1 - score, turned round."""
    rising = centred_isotonic(1 - scores, wrong, weights.astype(float))
    x, y = 1 - np.array(rising.x)[::-1], np.array(rising.y)[::-1]
    return Steps(x=_rounded(x), y=_rounded(y))


def centred_isotonic(x: Floats, y: Floats, weights: Floats) -> Steps:
    """Isotonic regression whose flat pieces are points at their centre, lines between them.

    Plain isotonic regression gives many values the same estimate; the centred one (Oron and
    Flournoy, Statistics in Biopharmaceutical Research 9, 2017) keeps their order.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1).fit(x, y, sample_weight=weights)
    level = fitted.predict(x)
    pieces = np.unique(level.round(9))
    at = np.searchsorted(pieces, level.round(9))
    mass = np.maximum(np.bincount(at, weights), 1e-12)
    return Steps(x=_rounded(np.bincount(at, weights * x) / mass), y=_rounded(pieces))


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in np.round(values, 6))


def fit_pages(sample: Sample, pages: Ints, names: tuple[str, ...]) -> PageModel:
    """Fit the lines and then the pages, on some of the pages of a sample."""
    lines = fit_lines(sample.seen.on(pages))
    return fit_features(sample.features(lines, pages), sample.pages.of(pages), names, lines)


def fit_features(
    values: Floats, pages: Pages, names: tuple[str, ...], lines: LineModel | None
) -> PageModel:
    """Fractional logistic regression on (pages, len(FEATURES)) values.

    A page counts as its share of wrong and of right characters, weighted by its characters. A
    feature whose coefficient comes out negative is left out, and the rest is fitted again.
    """
    from sklearn.linear_model import LogisticRegression

    # A page without an error is no proof that there are none.
    wrong = np.clip(pages.errors / pages.characters, 1e-4, 1 - 1e-4)
    weight = pages.characters / pages.characters.mean()
    while True:
        chosen = values[:, [FEATURES.index(name) for name in names]]
        centre, scale = chosen.mean(axis=0), np.maximum(chosen.std(axis=0), 1e-6)
        if not names:
            share = float(np.average(wrong, weights=weight))
            return _model((), centre, scale, centre, centre, np.log(share / (1 - share)), lines)
        scaled = (chosen - centre) / scale
        logistic = LogisticRegression(C=_C).fit(
            np.concatenate([scaled, scaled]),
            np.repeat([1, 0], len(scaled)),
            sample_weight=np.concatenate([weight * wrong, weight * (1 - wrong)]),
        )
        slopes = logistic.coef_[0]
        if slopes.min() >= 0:
            worst = chosen.max(axis=0)
            return _model(names, centre, scale, slopes, worst, logistic.intercept_[0], lines)
        names = tuple(n for n, slope in zip(names, slopes, strict=True) if slope >= 0)


def _model(
    names: tuple[str, ...],
    centre: Floats,
    scale: Floats,
    slopes: Floats,
    worst: Floats,
    intercept: float,
    lines: LineModel | None,
) -> PageModel:
    return PageModel(
        features=names,
        centre=_rounded(centre),
        scale=_rounded(scale),
        coefficients=_rounded(slopes),
        worst=_rounded(worst),
        intercept=round(float(intercept), 6),
        lines=lines,
    )


def estimates(model: PageModel, values: Floats) -> Floats:
    """(pages,) expected error rates of (pages, len(FEATURES)) values.

    A page that is worse than the sample is never accepted: it gets 1 and its estimate, so that such
    pages still have an order.
    """
    chosen = values[:, [FEATURES.index(name) for name in model.features]]
    found = model.estimate(chosen)
    return np.where((chosen <= np.array(model.worst) + ROUNDING).all(axis=1), found, 1 + found)


def out_of_fold(sample: Sample, pages: Ints, seed: int) -> dict[tuple[str, ...], Floats]:
    """Candidate -> (pages,) estimates, each by a model that has not seen the page's file.

    Candidates with a feature that some page lacks do not compete.
    """
    found: dict[tuple[str, ...], Floats] = {}
    for train, held in folds_of(sample.pages.files[pages], seed):
        lines = fit_lines(sample.seen.on(pages[train]))
        values = sample.features(lines, pages)
        known = {
            name
            for name, column in zip(FEATURES, values.T, strict=True)
            if np.isfinite(column).all()
        }
        for names in CANDIDATES:
            if not known.issuperset(names):
                found.pop(names, None)
                continue
            model = fit_features(values[train], sample.pages.of(pages[train]), names, lines)
            found.setdefault(names, np.zeros(len(pages)))[held] = estimates(model, values[held])
    return found


def best_of(areas: dict[tuple[str, ...], float]) -> tuple[str, ...]:
    """The candidate with the least area under its risk curve; a richer one must be worth it."""
    best, *others = [names for names in CANDIDATES if names in areas]
    for names in others:
        if areas[names] < _WORTH_IT * areas[best]:
            best = names
    return best


def steps_for(estimated: Floats, pages: Pages, seed: int) -> Steps | None:
    """The isotonic map from estimates to error rates, or None where it predicts no better.

    Both are judged by the deviance of pages that the map has not seen.
    """
    inside = np.flatnonzero(estimated <= 1)
    known, kept = estimated[inside], pages.of(inside)
    if len(np.unique(kept.files)) < 2 * _FOLDS:
        return None
    mapped = np.zeros(len(inside))
    for train, held in folds_of(kept.files, seed):
        mapped[held] = _isotonic(known[train], kept.of(train)).at(known[held])
    if _deviance(mapped, kept) < _deviance(known, kept):
        return _isotonic(known, kept)
    return None


def _isotonic(estimated: Floats, pages: Pages) -> Steps:
    return centred_isotonic(estimated, pages.errors / pages.characters, pages.characters)


def _deviance(estimated: Floats, pages: Pages) -> float:
    share = np.clip(estimated, 1e-4, 1 - 1e-4)
    wrong = pages.errors
    right = pages.characters - wrong
    return float(-(wrong * np.log(share) + right * np.log(1 - share)).sum())
