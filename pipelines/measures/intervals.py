"""A figure with its 95 % interval, by a bootstrap over files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from actors.contract import Settings


class Interval(Settings):
    """A figure and its 95 % interval: bootstrap over files."""

    value: float = Field(description="the figure")
    low: float = Field(description="lower end of the interval")
    high: float = Field(description="upper end of the interval")


Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DRAWS = 1000
#: Most numbers in one matrix of draws, 160 MB. Samples above 20,000 pages get fewer draws.
_MOST = 20_000_000


@dataclass(frozen=True)
class Pages:
    """n pages. `errors`, `characters`: (n,) float64; `files`: (n,) number of each page's file."""

    errors: Floats
    characters: Floats
    files: Ints

    def __len__(self) -> int:
        return len(self.errors)

    def of(self, pages: Ints) -> Pages:
        """Some of the pages, in the given order."""
        return Pages(self.errors[pages], self.characters[pages], self.files[pages])

    def draws(self, seed: int) -> Floats:
        """(draws, n) how often each page occurs in each bootstrap sample of the files."""
        count = min(DRAWS, max(_MOST // len(self), 100))
        random = np.random.default_rng(seed)
        names, of_page = np.unique(self.files, return_inverse=True)
        taken = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
        return taken[:, of_page].astype(np.float64)


def interval(point: float, drawn: Floats) -> Interval:
    """A figure with the percentiles 2.5 and 97.5 of its draws; NaN draws are left out."""
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (point, point)
    return Interval(value=float(point), low=float(low), high=float(high))


def ratio(over: Floats, under: Floats, draws: Floats) -> Interval | None:
    """Sum of `over` / sum of `under`, both (n,), with its interval; None if `under` sums to 0."""
    if under.sum() <= 0:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (draws @ over) / (draws @ under)
    return interval(over.sum() / under.sum(), drawn)
