"""Fit the coefficients in actors/ocr/pp_ocr/spaces.py.

    python configs/samples/fit_spaces.py [--pages 140]

Logistic regression by Newton's method on all gaps between characters of lines whose letters are
right. The pages are drawn from free fonts (benchmarks/parts/pages/word_pages.py, half `choose`);
benchmarks/spaces.py measures on the other half. Takes 2 s a page.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

RIDGE, STEPS = 0.1, 60

Floats = npt.NDArray[np.float64]


def fitted(evidence: Floats, blank: npt.NDArray[np.bool_]) -> tuple[Floats, float]:
    """Coefficients and intercept from evidence (n, k) and whether there is a blank (n,)."""
    mean, deviation = evidence.mean(axis=0), evidence.std(axis=0)
    x = np.column_stack([(evidence - mean) / deviation, np.ones(len(evidence))])
    ridge = np.diag([*[RIDGE] * evidence.shape[1], 0.0])
    weights = np.zeros(x.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-x @ weights))
        curvature = (x * (chance * (1 - chance))[:, None]).T @ x + ridge
        weights -= np.linalg.solve(curvature, x.T @ (chance - blank) + ridge @ weights)
    coefficients = weights[:-1] / deviation
    return coefficients, float(weights[-1] - coefficients @ mean)


def main(pages: int) -> None:
    """Fit, and print the coefficients for spaces.py."""
    from parts.pages.spaced_lines import blanks, lines_of, networks
    from parts.pages.word_pages import page

    from actors.ocr.pp_ocr.spaces import NAMES, gaps_of

    evidence, there = [], []
    for line in lines_of(networks(), (page(number, "choose") for number in range(pages))):
        gaps = gaps_of(line.read, line.columns, line.odds) if line.letters_right else None
        if gaps is not None:
            evidence.append(gaps.evidence)
            there.append(blanks(line.truth))
    coefficients, intercept = fitted(np.concatenate(evidence), np.concatenate(there))
    print(f"{len(evidence)} lines, {sum(map(len, there))} gaps")
    for name, value in [*zip(NAMES, coefficients, strict=True), ("INTERCEPT", intercept)]:
        print(f"{value:6.2f}  {name}")


if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=140)
    main(parser.parse_args().pages)
