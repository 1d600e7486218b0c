"""Pages with a known law of scores and errors, as a calibration sees them.

A file has 1 to 3 pages that share its quality (lognormal). A page's error rate scatters around that
of its file, a line's around that of its page. The score of a line falls with its error rate, with
noise. On every eighth page the detector saw a part of the text only weakly, and nobody read it.
"""

from __future__ import annotations

import numpy as np

from pipelines.calibration.sample import LinesSeen, Sample
from pipelines.decisions.error_model import scores_and_lengths
from pipelines.decisions.routing import Floors, measured
from pipelines.measures.intervals import Pages

_LINES, _LENGTH = 25, 20  #: of a page; characters of a line
_MEDIAN, _OF_FILES, _OF_PAGES, _OF_LINES = 0.012, 0.8, 0.5, 0.8  #: error rates, and their spreads


def simulated(files: int, seed: int) -> Sample:
    """A sample of `files` files, about twice as many pages."""
    random = np.random.default_rng(seed)
    sample, counts, seen = Sample("simulated"), [], []
    for file in range(files):
        quality = _MEDIAN * random.lognormal(0, _OF_FILES)
        for _ in range(random.integers(1, 4)):
            missed = random.beta(1, 12) if random.random() < 1 / 8 else 0.0
            rates = (
                quality * random.lognormal(0, _OF_PAGES) * random.lognormal(0, _OF_LINES, _LINES)
            )
            errors = random.binomial(_LENGTH, np.minimum(rates, 0.9))
            _add(sample, rates, missed, random)
            lost = round(missed * _LINES * _LENGTH)
            counts.append((errors.sum() + lost, _LINES * _LENGTH + lost, file))
            seen.append(errors)
    wrong, characters, of_file = np.array(counts).T
    sample.pages = Pages(wrong.astype(float), characters.astype(float), of_file.astype(np.int64))
    size = np.full(len(counts) * _LINES, _LENGTH)
    page = np.repeat(np.arange(len(counts)), _LINES)
    scores = np.concatenate([scores for scores, _ in sample.lines])
    sample.seen = LinesSeen(scores, size, np.concatenate(seen), page, size)
    return sample


def _add(sample: Sample, rates: np.ndarray, missed: float, random: np.random.Generator) -> None:
    """The evidence of a page whose lines have these error rates."""
    noisy = rates * random.lognormal(0, 0.7, len(rates))
    scores = np.clip(1 - 0.6 * noisy - random.uniform(0, 0.02, len(rates)), 0.3, 1)
    lines = [{"text": "x" * _LENGTH, "score": float(s), "polygon": None} for s in scores]
    outside = missed * random.uniform(0.4, 1.0) + random.exponential(0.001)
    page = {"ink_share": 0.1, "ink_covered": random.uniform(0.8, 1), "text_outside": outside}
    sample.evidence.append(measured(lines, Floors(), page).as_value())
    sample.lines.append(scores_and_lengths(lines))
    sample.outcomes.append("ocr")
    sample.reasons.append([])
