"""Counts and histograms of a run. Memory grows with the number of names, not of rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from pipelines.report.views import Coded, Floats, Ints, Labels, View

#: Bins of a histogram over 0..1. Thresholds and floors usually have two digits.
BINS = 100
#: Scores are float32 in the shards: 0.95 is stored as 0.949999988.
_ROUNDING = 1e-5


def bins_of(values: Floats) -> Ints:
    """The bin of each value, 0..BINS-1; 1.0 is in the last. BINS: unknown or outside 0..1."""
    known = np.isfinite(values) & (values >= 0) & (values <= 1 + _ROUNDING)
    place = np.floor(np.where(known, values, 0) * BINS + _ROUNDING).astype(np.int64)
    return np.where(known, np.minimum(place, BINS - 1), BINS)


def _empty() -> Ints:
    return np.zeros(BINS + 1, np.int64)


Histograms = dict[str, Ints]  #: name -> (BINS + 1,) counts; the last counts unknown scores


@dataclass
class ClassCounts:
    """Labels of one class.

    Attributes:
        kept, candidates: (BINS + 1,) counts of labels, and of candidates below the threshold.
        doubtful: labels with a reason for review.
    """

    kept: Ints = field(default_factory=_empty)
    candidates: Ints = field(default_factory=_empty)
    doubtful: int = 0

    @property
    def labels(self) -> int:
        """Number of labels without candidates."""
        return int(self.kept.sum())


@dataclass
class Tally:
    """Counts over rows.

    Attributes:
        outcomes: outcome -> rows.
        reasons: (outcome, reason) -> rows.
        failures: kind -> failures.
        sources: source of the final text -> pages.
        classes: class -> counts of its labels.
        lines: outcome -> line scores.
        means: outcome -> mean line scores of pages.
        expected: outcome -> expected CER of pages.
    """

    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    classes: dict[str, ClassCounts] = field(default_factory=lambda: defaultdict(ClassCounts))
    lines: Histograms = field(default_factory=lambda: defaultdict(_empty))
    means: Histograms = field(default_factory=lambda: defaultdict(_empty))
    expected: Histograms = field(default_factory=lambda: defaultdict(_empty))

    def add(self, rows: View) -> None:
        """Count one batch."""
        self.rows += len(rows.row_ids)
        self.outcomes.update(_counted(rows.outcomes))
        self.failures.update(_counted(rows.failures))
        if rows.sources:
            self.sources.update(_counted(rows.sources))
        self._add_reasons(rows)
        if rows.labels is not None:
            self._add_labels(rows.labels)
        if rows.lines is not None:
            self._by_outcome(self.lines, rows, rows.lines.rows, rows.lines.scores)
        for histograms, values in (
            (self.means, rows.mean_scores),
            (self.expected, rows.expected_cer),
        ):
            if values is not None:
                known = np.flatnonzero(~np.isnan(values))
                self._by_outcome(histograms, rows, known, values[known])

    def _add_reasons(self, rows: View) -> None:
        names, reasons = rows.outcomes.names, rows.reasons
        width = max(len(reasons.names), 1)
        pairs = rows.outcomes.codes[reasons.rows] * width + reasons.codes
        for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
            key = names[pair // width], reasons.names[pair % width]
            self.reasons[key] += int(count)

    def _add_labels(self, labels: Labels) -> None:
        place = labels.codes * (BINS + 1) + bins_of(labels.scores)
        shape = (len(labels.names), BINS + 1)
        kept, candidates = (
            np.bincount(place[chosen], minlength=shape[0] * shape[1]).reshape(shape)
            for chosen in (~labels.candidate, labels.candidate)
        )
        doubtful = np.bincount(labels.codes[labels.doubtful], minlength=shape[0])
        for number, name in enumerate(labels.names):
            counts = self.classes[name]
            counts.kept += kept[number]
            counts.candidates += candidates[number]
            counts.doubtful += int(doubtful[number])

    @staticmethod
    def _by_outcome(histograms: Histograms, rows: View, places: Ints, values: Floats) -> None:
        """Add the value of each row of `places` to the histogram of the row's outcome."""
        names = rows.outcomes.names
        codes = rows.outcomes.codes[places] * (BINS + 1) + bins_of(values)
        counts = np.bincount(codes, minlength=len(names) * (BINS + 1)).reshape(-1, BINS + 1)
        for name, row in zip(names, counts, strict=True):
            if row.any():
                histograms[name] += row


def _counted(values: Coded) -> dict[str, int]:
    counts = np.bincount(values.codes, minlength=len(values.names))
    return {name: int(n) for name, n in zip(values.names, counts, strict=True) if n}
