"""Reading order of pages that are read from right to left."""

from __future__ import annotations

import numpy as np
import pytest

from actors.ocr.order.from_right import from_right, mirrored
from actors.ocr.reading_order import reading_order

BREAD, PRICE = "\u05dc\u05d7\u05dd \u05e9\u05d7\u05d5\u05e8", "12.50"


def box(x: float, y: float, width: float) -> list[list[float]]:
    return [[x, y], [x + width, y], [x + width, y + 30], [x, y + 30]]


@pytest.mark.parametrize(("label", "order"), [(BREAD, [0, 1, 2, 3]), ("rye bread", [1, 0, 3, 2])])
def test_rows_start_on_the_side_where_the_script_starts(label: str, order: list[int]) -> None:
    """The label stands on the right, its price on the left."""
    boxes = [box(800, 100, 200), box(100, 100, 80), box(800, 160, 200), box(100, 160, 80)]
    found = reading_order(np.array(boxes, np.float32), [label, PRICE, label, PRICE])
    assert [(one.index, one.row, one.column) for one in found] == [
        (order[0], 0, 0),
        (order[1], 0, 1),
        (order[2], 1, 0),
        (order[3], 1, 1),
    ]


def test_most_letters_decide() -> None:
    assert from_right([BREAD, "1948", "ISO"])
    assert not from_right(["Bread and butter", BREAD])
    assert not from_right(["1948", ""])
    assert not from_right([])


def test_a_mirror_image_keeps_corners_clockwise_from_the_top_left() -> None:
    (flipped,) = mirrored(np.array([box(10, 0, 20)], np.float32))
    assert flipped.tolist() == [[-30, 0], [-10, 0], [-10, 30], [-30, 30]]
