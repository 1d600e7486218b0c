"""Detects repetition in generated text, a common failure of language models."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from actors.contract import Settings


class LoopRules(Settings):
    """Three criteria of a loop; one of them suffices.

    The defaults accept the repetition of real pages: rules of 132 hyphens, 20 equal item lines of
    27 characters on a receipt, ledger rows that differ in one number.
    """

    run: int = Field(
        200, ge=2, description="criterion 1: minimum repeats of one character in a row"
    )
    unit: int = Field(
        400, ge=1, description="criterion 2: maximum length of a repeated passage, in characters"
    )
    repeats: int = Field(
        4, ge=2, description="criterion 2: minimum repeats of the passage, back to back"
    )
    covered: int = Field(
        600, ge=2, description="criterion 2: minimum characters of these repeats together"
    )
    ngram: int = Field(
        8, ge=1, description="criterion 3, for repeats that are not back to back: words per n-gram"
    )
    ngrams: int = Field(
        300,
        ge=1,
        description="criterion 3: minimum number of n-grams; shorter texts are not tested",
    )
    max_repeated: float = Field(
        0.5, ge=0, le=1, description="criterion 3: maximum share of n-grams that occurred before"
    )


def find_loop(text: str, rules: LoopRules) -> str | None:
    """A message about the repetition in `text`; None without a loop.

    It takes 15 ms for 12,000 characters.
    """
    dense = re.sub(r"[ \t]+", " ", text)
    codes = np.frombuffer(dense.encode("utf-32-le", "replace"), np.uint32)
    run, end = _longest_period(codes, 1)
    if run >= rules.run:
        return f"the answer repeats {dense[end - 1]!r} {run} times in a row"
    for period in range(2, min(rules.unit, len(codes) // rules.repeats) + 1):
        length, end = _longest_period(codes, period)
        if length >= rules.covered and length >= rules.repeats * period:
            unit = dense[end - period : end]
            return f"the answer repeats {unit[:80]!r} {length // period} times in a row"
    return _repeated_ngrams(re.findall(r"\S*\w\S*", text), rules)  # dot leaders are not words


def _longest_period(codes: npt.NDArray[np.uint32], period: int) -> tuple[int, int]:
    """(length, end) of the longest stretch whose characters repeat with this `period`."""
    different = np.flatnonzero(codes[period:] != codes[:-period])
    edges = np.concatenate([[-1], different, [len(codes) - period]])
    gaps = np.diff(edges) - 1
    at = int(gaps.argmax())
    if gaps[at] <= 0:
        return 0, 0
    return int(gaps[at]) + period, int(edges[at + 1]) + period


def _repeated_ngrams(words: Sequence[str], rules: LoopRules) -> str | None:
    total = len(words) - rules.ngram + 1
    if total < rules.ngrams:
        return None
    distinct = len({tuple(words[i : i + rules.ngram]) for i in range(total)})
    repeated = 1 - distinct / total
    if repeated <= rules.max_repeated:
        return None
    return f"{100 * repeated:.0f} % of the answer's {rules.ngram}-word sequences are repeats"
