"""Figures of a calibration on files that it has not seen: risk curves, differences, reliability.

All intervals are 95 %, from a bootstrap over files of the held-out estimates. They show how the
figures vary with the sample of files, not how the fit varies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.calibration.pages import Report
from pipelines.calibration.sample import Sample
from pipelines.measures.intervals import Bools, Floats, Interval, interval, ratio
from pipelines.measures.risk import SHARES, curve, share_at

#: Outcomes of pages with an accepted OCR reading.
_ACCEPTED = frozenset({"ocr"})


@dataclass(frozen=True)
class Curve:
    """A figure at each of `SHARES`, with its interval; (len(SHARES),) each."""

    value: Floats
    low: Floats
    high: Floats

    def at(self, share: float) -> Interval:
        """The figure at the nearest entry of `SHARES`."""
        place = int(np.abs(SHARES - share).argmin())
        ends = (self.value[place], self.low[place], self.high[place])
        return Interval(**dict(zip(("value", "low", "high"), map(float, ends), strict=True)))


@dataclass(frozen=True)
class Curves:
    """CER of the accepted pages at each share of accepted pages.

    Attributes:
        ours: pages ranked by the expected error rate, from models that have not seen their file.
        naive: pages ranked by the mean score.
        saved: naive - ours, from the same draws; above 0: ours is better.
    """

    ours: Curve
    naive: Curve
    saved: Curve


@dataclass(frozen=True)
class Shares:
    """Largest share of pages whose CER is at most a target; `gained`: ours - naive."""

    ours: Interval
    naive: Interval
    gained: Interval


@dataclass(frozen=True)
class Routed:
    """Share of pages that a rule accepts, and their CER; `cer` None: it accepts no page."""

    share: Interval
    cer: Interval | None


@dataclass(frozen=True)
class Bin:
    """Pages with similar expected error rates: mean expected rate, true rate, number of pages."""

    expected: float
    observed: Interval
    pages: float


def curves(report: Report) -> Curves:
    """Both risk curves and their difference."""
    pages, naive = report.sample.pages, -report.sample.mean_scores[None]
    draws, once = pages.draws(report.seed), np.ones((1, len(pages)))
    points = [curve(ranks, pages, once)[0] for ranks in (report.trial.expected, naive)]
    drawn = [curve(ranks, pages, draws) for ranks in (report.trial.expected, naive)]
    return Curves(
        _curve(points[0], drawn[0]),
        _curve(points[1], drawn[1]),
        _curve(points[1] - points[0], drawn[1] - drawn[0]),
    )


def _curve(point: Floats, drawn: Floats) -> Curve:
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return Curve(point, low, high)


def shares(report: Report, target: float) -> Shares:
    """The largest share that each ranking can accept at a CER of `target`, with the best floor."""
    pages, naive = report.sample.pages, -report.sample.mean_scores[None]
    draws, once = pages.draws(report.seed), np.ones((1, len(pages)))
    points = [share_at(ranks, pages, once, target)[0] for ranks in (report.trial.expected, naive)]
    drawn = [share_at(ranks, pages, draws, target) for ranks in (report.trial.expected, naive)]
    return Shares(
        interval(points[0], drawn[0]),
        interval(points[1], drawn[1]),
        interval(points[0] - points[1], drawn[0] - drawn[1]),
    )


def routed(sample: Sample, accepted: Bools, seed: int) -> Routed:
    """Share and CER of the accepted pages. `accepted`: (R, n) or (n,) decisions."""
    pages, weight = sample.pages, np.atleast_2d(accepted).mean(axis=0)
    draws = pages.draws(seed)
    share = ratio(weight, np.ones(len(pages)), draws)
    if share is None:
        raise ValueError("a sample has pages")
    return Routed(share, ratio(pages.errors * weight, pages.characters * weight, draws))


def as_the_run_did(report: Report) -> Routed:
    """The pages that the run itself accepted."""
    accepted = np.isin(report.sample.outcomes, list(_ACCEPTED))
    return routed(report.sample, accepted, report.seed)


def with_other_rules(report: Report) -> Routed:
    """The pages that the calibration accepts and no other rule of this run sends to review.

    The other rules are garbled or unreadable text, documents that their pages do not show, and
    missed text if the calibration lacks it.
    """
    stay = {"garbled_text", "script_not_readable", "letters_not_readable", "line_ink_not_read"}
    stay |= {"dynamic_form", "attachments"}
    if not report.calibration.sees_missed_text():
        stay |= {"ink_not_covered", "text_outside_lines"}
    free = np.array([stay.isdisjoint(reasons) for reasons in report.sample.reasons], bool)
    return routed(report.sample, report.trial.accepted & free, report.seed)


def reliability(report: Report, count: int = 6) -> list[Bin]:
    """Held-out expected error rates against true ones, in bins of about equal size.

    Pages that are worse than the sample have no expected rate and are left out.
    """
    pages, draws = report.sample.pages, report.sample.pages.draws(report.seed)
    expected = report.trial.expected
    known = expected <= 1
    if not known.any():
        return []
    place = np.searchsorted(
        np.quantile(expected[known], np.linspace(0, 1, count + 1)[1:-1]), expected
    )
    found = []
    for number in range(count):
        inside = (place == number) & known
        weight = inside.mean(axis=0)
        observed = ratio(pages.errors * weight, pages.characters * weight, draws)
        if observed:
            mass = inside * pages.characters
            mean = float((np.where(inside, expected, 0) * mass).sum() / mass.sum())
            found.append(Bin(mean, observed, float(weight.sum())))
    return found
