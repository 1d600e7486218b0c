"""Lines that the detector joined across a narrow gutter are cut into two."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from parts.pages.ordered_pages import page
from parts.pages.page_sheet import Sheet

from actors.ocr.pp_ocr.joined import parted


def joined(
    sheet: Sheet, degrees: float, every: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The boxes of a page, and the same with every n-th row of two lines as one box."""
    quads = sheet.quads(degrees)
    rows: dict[float, list[int]] = {}
    for place, line in enumerate(sheet.lines):
        rows.setdefault(line.y, []).append(place)
    pairs = [row for row in rows.values() if len(row) == 2][2:-2:every]
    assert pairs
    both = [[*quads[a, [0]], *quads[b, [1, 2]], *quads[a, [3]]] for a, b in pairs]
    gone = {place for pair in pairs for place in pair}
    kept = [quad for place, quad in enumerate(quads) if place not in gone]
    return quads, np.array([*kept, *both], np.float32)


def grid() -> Sheet:
    """Two columns on one grid, with a narrow gutter."""
    for seed in range(50):
        sheet = page("two columns, narrow gutter", seed)
        if len({line.y for line in sheet.lines}) < 0.7 * len(sheet.lines):
            return sheet
    raise AssertionError("no page on a grid")


@pytest.mark.parametrize("degrees", [0.0, 3.0])
def test_joined_lines_are_cut_at_the_gutter(degrees: float) -> None:
    sheet = grid()
    image = cv2.cvtColor(sheet.image(degrees), cv2.COLOR_GRAY2BGR)
    quads, mixed = joined(sheet, degrees, every=6)
    found = parted(image, mixed)
    assert len(found) - len(mixed) >= 0.6 * (len(quads) - len(mixed))  # not beside short lines
    middles = found.mean(axis=1)
    true = quads.mean(axis=1)
    off = np.abs(true[:, None] - middles[None, :]).max(axis=2).min(axis=1)
    assert np.mean(off < sheet.size) > 0.9


@pytest.mark.parametrize("kind", ["articles", "register", "form", "receipt", "wrapped cells"])
def test_headlines_and_cells_stay_whole(kind: str) -> None:
    for seed in range(3):
        sheet = page(kind, seed)
        image = cv2.cvtColor(sheet.image(), cv2.COLOR_GRAY2BGR)
        quads = sheet.quads()
        assert np.array_equal(parted(image, quads), quads)


def test_a_page_without_lines() -> None:
    empty = np.zeros((0, 4, 2), np.float32)
    assert parted(np.full((90, 90, 3), 255, np.uint8), empty).shape == (0, 4, 2)
