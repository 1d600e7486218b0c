"""Fit the line model (isotonic regression) and the page model (logistic regression)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.calibration.sample import LinesSeen, Sample
from pipelines.decisions.error_model import FEATURES, ROUNDING, LineModel, PageModel, Steps
from pipelines.measures.intervals import Floats, Ints, Pages

#: Candidate sets of features, small ones first. In the cross-validation on 63 receipts more sets or
#: another regularisation were no better.
CANDIDATES = (
    ("mean_score",),
    ("line_risk",),
    ("line_risk", "weak_characters"),
    ("text_risk",),
    ("line_risk", "missed_ink"),
    ("line_risk", "weak_characters", "missed_ink", "garbled"),
)
#: A larger set wins only if its area under the risk curve is below this share of the best smaller
#: set's area.
_WORTH_IT = 0.97
#: Inverse strength of the ridge penalty. With 1 the slopes are a third too flat, and good pages
#: look twice as bad as they are. Held-out deviance on 63 receipts: 4,286 with 1, 4,261 with 10,
#: 4,266 with 100. The order of the pages hardly depends on it.
_C = 10.0
#: Newton's method: most iterations (it needs about 7), and the longest step.
_ROUNDS, _LONGEST = 50, 2.0
#: Bands of line length, upper ends in characters: the score of a short line says less.
_BANDS = (3, 8, 10_000)
#: A band with fewer lines than this uses the map of all lines.
_LINES_OF_A_BAND = 100
_FOLDS = 5
#: Features that stay as limits with a coefficient of 0. With a calibration,
#: `pipelines.decisions.routing` has no floor for them.
_GUARDS = (
    *("mean_score", "line_risk", "text_risk", "weak_characters"),
    *("text_outside", "missed_ink"),
)


def folds_of(files: Ints, seed: int, count: int = _FOLDS) -> Iterator[tuple[Ints, Ints]]:
    """(training pages, held-out pages) of each fold; the pages of one file stay together."""
    names = np.random.default_rng(seed).permutation(np.unique(files))
    for part in np.array_split(names, min(count, len(names))):
        out = np.isin(files, part)
        yield np.flatnonzero(~out), np.flatnonzero(out)


def fit_lines(seen: LinesSeen) -> LineModel | None:
    """The line model: error rate by score (falling) and length; None with too few lines."""
    if len(seen.scores) < _LINES_OF_A_BAND:
        return None
    wrong = seen.errors / seen.characters
    whole = _falling(seen.scores, wrong, seen.characters)
    bands, least = [], 0
    for most in _BANDS:
        there = (seen.lengths > least) & (seen.lengths <= most)
        enough = np.count_nonzero(there) >= _LINES_OF_A_BAND
        bands.append(
            _falling(seen.scores[there], wrong[there], seen.characters[there]) if enough else whole
        )
        least = most
    return LineModel(up_to=_BANDS, bands=tuple(bands))


def _falling(scores: Floats, wrong: Floats, weights: Ints) -> Steps:
    """Falling map of the score: the rising map of 1 - score, reversed."""
    rising = centred_isotonic(1 - scores, wrong, weights.astype(float))
    x, y = 1 - np.array(rising.x)[::-1], np.array(rising.y)[::-1]
    return Steps(x=_rounded(x), y=_rounded(y))


def centred_isotonic(x: Floats, y: Floats, weights: Floats) -> Steps:
    """Isotonic regression with a point at the centre of each flat piece, and lines between these.

    Plain isotonic regression gives many values the same estimate. The centred one (Oron and
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
    """Fit the line model and then the page model on some of the pages of a sample."""
    lines = fit_lines(sample.seen.on(pages))
    return fit_features(sample.features(lines, pages), sample.pages.of(pages), names, lines)


def fit_features(
    values: Floats, pages: Pages, names: tuple[str, ...], lines: LineModel | None
) -> PageModel:
    """Fractional logistic regression on (pages, len(FEATURES)) values.

    The target is the share of wrong characters of a page, the weight its number of characters. A
    feature whose coefficient is not positive is left out, and the rest is fitted again. Features
    about scores and missed text stay as limits with a coefficient of 0: a page that is worse in one
    of them than every page of the sample is not accepted, even if its other features are good.
    """
    # A page without errors does not prove an error rate of 0.
    wrong = np.clip(pages.errors / pages.characters, 1e-4, 1 - 1e-4)
    weight = pages.characters / pages.characters.mean()
    share = float(np.average(wrong, weights=weight))
    kept, slopes, intercept = names, np.zeros(0), float(np.log(share / (1 - share)))
    while kept:
        slopes, fitted = logistic(_scaled(values, kept)[0], wrong, weight)
        if slopes.min() > 0:
            intercept = fitted
            break
        kept = tuple(name for name, slope in zip(kept, slopes, strict=True) if slope > 0)
    weighed = dict(zip(kept, slopes.tolist(), strict=False))
    guards = [name for name in _GUARDS if np.isfinite(values[:, FEATURES.index(name)]).all()]
    features = tuple(dict.fromkeys([*weighed, *guards]))
    _, centre, scale = _scaled(values, features)
    return PageModel(
        features=features,
        centre=_rounded(centre),
        scale=_rounded(scale),
        coefficients=_rounded(np.array([weighed.get(name, 0.0) for name in features])),
        worst=_rounded(values[:, [FEATURES.index(name) for name in features]].max(axis=0)),
        intercept=round(intercept, 6),
        lines=lines,
    )


def _scaled(values: Floats, names: tuple[str, ...]) -> tuple[Floats, Floats, Floats]:
    """(standardised columns, their means, their standard deviations)."""
    chosen = values[:, [FEATURES.index(name) for name in names]]
    centre, scale = chosen.mean(axis=0), np.maximum(chosen.std(axis=0), 1e-6)
    return (chosen - centre) / scale, centre, scale


def logistic(scaled: Floats, wrong: Floats, weight: Floats) -> tuple[Floats, float]:
    """(slopes, intercept) by Newton's method, with a ridge penalty of 1 / `_C` on the slopes.

    It equals scikit-learn's LogisticRegression on each page twice, as wrong and as right, and takes
    a tenth of its 1.2 ms. A cross-validation makes 2,000 such fits.

    Args:
        scaled: (pages, features). wrong: (pages,) shares, 0..1. weight: (pages,).
    """
    rows = np.column_stack([scaled, np.ones(len(scaled))])
    penalty = np.append(np.full(scaled.shape[1], 1 / _C), 0.0)
    share = float(np.average(wrong, weights=weight))
    found = np.append(np.zeros(scaled.shape[1]), np.log(share / (1 - share)))
    for _ in range(_ROUNDS):
        expected = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        slope = rows.T @ (weight * (expected - wrong)) + penalty * found
        bend = (rows.T * (weight * expected * (1 - expected))) @ rows + np.diag(penalty)
        step = np.linalg.solve(bend, slope)
        found -= step * min(1.0, _LONGEST / np.abs(step).max(initial=1e-12))
        if np.abs(step).max() < 1e-9:
            break
    return found[:-1], float(found[-1])


def estimates(model: PageModel, values: Floats) -> Floats:
    """Expected error rates, (pages,) float64, of (pages, len(FEATURES)) values.

    A page that is worse than the sample or lacks a feature is never accepted. It gets 1 plus its
    estimate (1 if a feature is missing), so that such pages still have an order.
    """
    chosen = values[:, [FEATURES.index(name) for name in model.features]]
    found = np.nan_to_num(model.estimate(chosen), nan=1.0)
    return np.where((chosen <= np.array(model.worst) + ROUNDING).all(axis=1), found, 1 + found)


def out_of_fold(sample: Sample, pages: Ints, seed: int) -> dict[tuple[str, ...], Floats]:
    """Candidate -> (pages,) estimates, each by a model that has not seen the page's file.

    Candidates with a feature that some page lacks are left out.
    """
    found: dict[tuple[str, ...], Floats] = {}
    lacking: set[tuple[str, ...]] = set()
    for train, held in folds_of(sample.pages.files[pages], seed):
        lines = fit_lines(sample.seen.on(pages[train]))
        values = sample.features(lines, pages)
        known = {
            name
            for name, column in zip(FEATURES, values.T, strict=True)
            if np.isfinite(column).all()
        }
        for names in CANDIDATES:
            if not known.issuperset(names):  # in any fold, for example with too few lines
                lacking.add(names)
                continue
            model = fit_features(values[train], sample.pages.of(pages[train]), names, lines)
            found.setdefault(names, np.zeros(len(pages)))[held] = estimates(model, values[held])
    return {names: estimated for names, estimated in found.items() if names not in lacking}


def best_of(areas: dict[tuple[str, ...], float]) -> tuple[str, ...]:
    """The candidate with the least area under its risk curve; `_WORTH_IT` limits larger sets."""
    best, *others = [names for names in CANDIDATES if names in areas]
    for names in others:
        if areas[names] < _WORTH_IT * areas[best]:
            best = names
    return best
