"""Floors with an upper bound of the CER of the pages that they accept.

**Bound.** The CER of some files is a ratio, errors / characters, and the file is the unit: pages of
one file are not independent. With residuals z = errors - CER * characters of each file, the
standard error of the ratio is sqrt(n / (n - 1) * sum(z^2)) / sum(characters). The CER of the other
files scatters too: the promise is for four times as many files or more, so the error is multiplied
by sqrt(1 + 1 / 4). The bound is the ratio plus Student's quantile times this error, after the file
with the largest residual is counted twice. Errors of files have a heavy right tail, so a sample too
often lacks the worst kind of file: the plain t bound of 90 % held in 71 to 86 % of simulated
samples of 12 to 120 files. Conformal risk control (Angelopoulos et al., 2022) adds one file with
the largest possible loss for the same reason. Bounds without assumptions (Hoeffding-Bentkus,
Waudby-Smith-Ramdas) need hundreds of files: of 60 files with a CER of 2 % they promise 6 %.

**Multiplicity.** Floors are tested from strict to loose, and the sequence ends at the first floor
that fails (fixed sequence testing: Learn then Test, Angelopoulos et al., 2021; risk-controlling
prediction sets, Bates et al., 2021). So the promise of a floor is the largest bound of all floors
up to it. The order comes from estimates by models that have not seen the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf

import numpy as np
from pydantic import Field

from actors.contract import Settings
from pipelines.measures.intervals import Floats, Ints, Pages

#: Other files that a promise is for, per file of the sample. It is a prediction bound: the quarter
#: is the variance of their own CER.
_OTHERS = 4
#: The first floor of the sequence accepts pages of a fifth of the files, within these limits.
_FIRST_SHARE, _FIRST_LEAST, _FIRST_MOST = 0.2, 8, 50
#: Most floors of a table, evenly spaced by accepted pages: a step is 1 % of the pages.
_MOST = 100


class Promise(Settings):
    """A floor, and the CER of the pages that it accepts. CERs and shares 0..1."""

    floor: float = Field(description="highest expected CER of an accepted page")
    promised_cer: float = Field(description="upper bound of the CER of the accepted pages together")
    expected_cer: float = Field(description="CER of the accepted pages of the sample, held out")
    share: float = Field(description="accepted pages of the sample, held out")


def upper_bound(errors: Floats, characters: Floats, confidence: float) -> float:
    """One-sided upper bound of the CER of other files; infinite with fewer than 2 files.

    Args:
        errors, characters: (files,) of each file, characters above 0.
        confidence: 0..1, exclusive.
    """
    if len(errors) < 2:
        return inf
    # Imported late: workers load calibrations, and the environments of engines have no SciPy.
    from scipy.stats import t as student

    worst = int(np.argmax(errors - errors.sum() / characters.sum() * characters))
    errors, characters = np.append(errors, errors[worst]), np.append(characters, characters[worst])
    count, total = len(errors), characters.sum()
    cer = errors.sum() / total
    variance = count / (count - 1) * np.square(errors - cer * characters).sum() / total**2
    spread = np.sqrt(variance * (1 + 1 / _OTHERS))
    return float(cer + student.ppf(confidence, count - 1) * spread)


def promises(values: Floats, pages: Pages, confidence: float) -> tuple[Promise, ...]:
    """The floors of a sample, from strict to loose; each promises more errors than the one before.

    Args:
        values: (n,) held-out expected error rates; pages above 1 are never accepted.
        pages: the same n pages.
        confidence: of each promise, 0..1, exclusive.
    """
    values = np.array([_up(value) for value in values])
    order = np.argsort(values, kind="stable")
    found: list[Promise] = []
    bound = 0.0
    for place in _places(values[order], pages.files[order]):
        taken = order[: place + 1]
        errors, characters = _by_file(pages.of(taken))
        bound = max(bound, upper_bound(errors, characters, confidence))
        if bound >= 1:
            break
        promised = _up(bound)
        if found and found[-1].promised_cer == promised:  # looser, for the same promise
            found.pop()
        found.append(
            Promise(
                floor=float(values[order[place]]),
                promised_cer=promised,
                expected_cer=round(float(errors.sum() / characters.sum()), 6),
                share=round(len(taken) / len(pages), 6),
            )
        )
    return tuple(found)


def _up(value: float) -> float:
    """6 digits, rounded up: the page at the floor stays in, and no promise gets smaller.

    `ceil(value * 1e6) / 1e6` would be wrong: of 6 digits it makes a value larger by 1e-6 or, by the
    last bit, smaller.
    """
    rounded = round(value, 6)
    return rounded if rounded >= value else round(rounded + 1e-6, 6)


def _places(ordered: Floats, files: Ints) -> Ints:
    """The places of the last page of each floor that is tested."""
    last_of_ties = np.append(ordered[1:] > ordered[:-1], True) & (ordered <= 1)
    first = np.zeros(len(files), np.int64)
    first[np.unique(files, return_index=True)[1]] = 1
    all_files = int(first.sum())
    least = min(max(ceil(_FIRST_SHARE * all_files), _FIRST_LEAST), _FIRST_MOST)
    places = np.flatnonzero(last_of_ties & (np.cumsum(first) >= least))
    if len(places) <= _MOST:
        return places
    return places[np.unique(np.linspace(0, len(places) - 1, _MOST).round().astype(int))]


def _by_file(pages: Pages) -> tuple[Floats, Floats]:
    """(errors, characters) of each file, (files,) each."""
    _, file = np.unique(pages.files, return_inverse=True)
    errors, characters = np.bincount(file, pages.errors), np.bincount(file, pages.characters)
    return errors.astype(np.float64), characters.astype(np.float64)


def promise_for(found: Sequence[Promise], target: float) -> Promise | None:
    """The loosest floor that promises a CER of at most `target`; None: no floor does."""
    return next((one for one in reversed(found) if one.promised_cer <= target), None)


def files_needed(found: Sequence[Promise], files: int, target: float) -> tuple[int, float] | None:
    """About how many files of this kind can promise `target`, and for which share of the pages.

    The excess of a bound over the expected CER shrinks with the root of the number of files. None
    if the expected CER is the target or more at every floor: then a larger sample does not help.
    """
    needed = [
        (files * ((one.promised_cer - one.expected_cer) / (target - one.expected_cer)) ** 2, one)
        for one in found
        if one.expected_cer < target
    ]
    if not needed:
        return None
    most, at = min(needed, key=lambda pair: pair[0])
    tens = 10 ** max(len(str(ceil(most))) - 2, 0)  # two digits
    return ceil(round(most / tens, 6)) * tens, at.share
