"""Risk curves: the CER of the accepted pages by the share of accepted pages.

Pages of one file are not independent, so intervals come from a bootstrap over files (1,000 draws,
percentiles 2.5 and 97.5).
"""

from __future__ import annotations

import numpy as np

from pipelines.measures.intervals import Bools, Floats, Ints, Pages

#: Shares of accepted pages at which curves are drawn and compared.
SHARES = np.arange(0.2, 1.001, 0.05)


def _cumulative_cer(values: Floats, pages: Pages) -> tuple[Ints, Floats]:
    """(order, CER of all pages up to each place), from the lowest value to the highest."""
    order = np.argsort(values, kind="stable")
    errors, characters = np.cumsum(pages.errors[order]), np.cumsum(pages.characters[order])
    return order, errors / np.maximum(characters, 1)


def floor_for(values: Floats, pages: Pages, target: float) -> float | None:
    """The highest value v for which the pages up to v have a CER of at most `target`, or None."""
    order, cer = _cumulative_cer(values, pages)
    ordered = values[order]
    last_of_ties = np.append(ordered[1:] > ordered[:-1], True)
    meets = np.flatnonzero((cer <= target) & last_of_ties)
    return float(ordered[meets[-1]]) if len(meets) else None


def first_pages(values: Floats, count: int) -> Bools:
    """(n,) True for the `count` pages with the lowest values."""
    taken = np.zeros(len(values), bool)
    taken[np.argsort(values, kind="stable")[:count]] = True
    return taken


def area(values: Floats, pages: Pages) -> float:
    """Area under the risk curve: mean CER of the accepted pages over all shares; less is better."""
    return float(_cumulative_cer(values, pages)[1].mean())


def curve(values: Floats, pages: Pages, draws: Floats) -> Floats:
    """(draws, len(SHARES)) CER of the accepted pages at each share.

    Args:
        values: (repeats, n), each repeat ranks the pages; the result is the mean over repeats.
        draws: (draws, n) weights of the pages; ones give the curve without bootstrap.
    """
    found = np.zeros((len(draws), len(SHARES)))
    for ranked in values:
        share, cer = _ranked(ranked, pages, draws)
        for row in range(len(draws)):
            found[row] += np.interp(SHARES, share[row], cer[row])
    return found / len(values)


def share_at(values: Floats, pages: Pages, draws: Floats, target: float) -> Floats:
    """(draws,) largest share of pages with a CER of at most `target`; arguments as in `curve`."""
    found = np.zeros(len(draws))
    for ranked in values:
        share, cer = _ranked(ranked, pages, draws)
        found += np.where(cer <= target, share, 0).max(axis=1)
    return found / len(values)


def _ranked(ranked: Floats, pages: Pages, draws: Floats) -> tuple[Floats, Floats]:
    """(draws, n): share of pages up to each place, and the CER up to there."""
    order = np.argsort(ranked, kind="stable")
    weights = draws[:, order]
    share = np.cumsum(weights, axis=1)
    errors = np.cumsum(weights * pages.errors[order], axis=1)
    characters = np.cumsum(weights * pages.characters[order], axis=1)
    return share / share[:, -1:], errors / np.maximum(characters, 1)
