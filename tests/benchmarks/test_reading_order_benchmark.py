"""Reading order on rendered pages that no rule was chosen with."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import reading_order
from parts.pages.ordered_pages import KINDS, page
from parts.pages.page_setter import JUDGE_FONTS, JUDGE_SEED
from parts.pages.page_sheet import CJK, FONTS

pytestmark = pytest.mark.skipif(
    not all((FONTS / name).is_file() for name in (CJK, *JUDGE_FONTS)),
    reason="Debian's fonts-noto-core, fonts-noto-cjk and fonts-liberation are missing",
)


@pytest.mark.parametrize("kind", KINDS)
def test_successors_are_right(kind: str) -> None:
    """Two pages of each kind, upright and leaning by 4 degrees; results/ has more."""
    right = successors = 0.0
    for seed in (JUDGE_SEED + 500, JUDGE_SEED + 501):
        sheet = page(kind, seed)
        for angle in (0.0, 4.0):
            found = reading_order.judged(sheet, angle, seed)
            assert not found["low"]
            right += found["right"]
            successors += found["successors"]
    assert right >= 0.95 * successors


def test_a_page_knows_its_lines() -> None:
    sheet = page("receipt", JUDGE_SEED)
    assert page("receipt", JUDGE_SEED).text() == sheet.text()
    assert any(row.count("\t") >= 1 for row in sheet.text().split("\n"))
    upright, turned = sheet.image(), sheet.image(90)
    assert np.array_equal(np.rot90(turned), upright)  # clockwise


@pytest.mark.parametrize("degrees", [0.0, 7.0, 90.0])
def test_boxes_lie_on_the_ink_of_the_page(degrees: float) -> None:
    sheet = page("form", JUDGE_SEED)
    image = sheet.image(degrees)
    mean = [
        image[int(y), int(x)]
        for quad in sheet.quads(degrees)
        for x, y in quad.mean(axis=0) + np.random.default_rng(1).normal(0, 4, (40, 2))
    ]
    assert np.mean(mean) < 235  # the paper has 250
    outside = image.astype(int)
    for quad in sheet.quads(degrees):
        x0, y0 = np.maximum(quad.min(axis=0).astype(int) - 4, 0)
        x1, y1 = quad.max(axis=0).astype(int) + 5
        outside[y0:y1, x0:x1] = 250
    assert outside.min() > 200
