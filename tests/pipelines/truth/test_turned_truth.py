"""Truth boxes of pages that their reader turned."""

from __future__ import annotations

from typing import Any

import pytest

from actors.images.turning import turned_polygon, turned_size
from pipelines.measures.character_errors import TextLine
from pipelines.truth.page_match import PageTruth, errors_of, lines_as_true

WIDTH, HEIGHT = 600, 900
TEXTS = [f"line {place} of {50 * place} words" for place in range(1, 9)]
BOXES = [(40.0, 90.0 * place, 400.0, 90.0 * place + 60) for place in range(1, 9)]


def row_of(rotation: int | None) -> Any:
    """A page that was read without a fault. Its lines stand on the upright page."""
    lines = [
        {"text": text, "score": 0.9, "polygon": [x0, y0, x1, y0, x1, y1, x0, y1]}
        for text, (x0, y0, x1, y1) in zip(TEXTS, BOXES, strict=True)
    ]
    return {"width": WIDTH, "height": HEIGHT, "rotation": rotation, "lines": lines}


def truth_of(turn: int, scale: float | None = None) -> PageTruth:
    """Boxes on the page as it lies in the file: turned by `turn`, and scaled."""
    lines = []
    for text, box in zip(TEXTS, BOXES, strict=True):
        xs_ys = turned_polygon(box, turn, (WIDTH, HEIGHT))
        xs, ys = sorted(xs_ys[::2]), sorted(xs_ys[1::2])
        x0, y0, x1, y1 = (value * (scale or 1.0) for value in (xs[0], ys[0], xs[1], ys[1]))
        lines.append(TextLine(text, (x0, y0, x1, y1)))
    wide, high = turned_size((WIDTH, HEIGHT), turn)
    return PageTruth("truth", tuple(lines), size=(wide * scale, high * scale) if scale else None)


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("scale", [None, 0.5])
def test_boxes_of_the_page_as_it_lies_are_turned_with_it(
    rotation: int, scale: float | None
) -> None:
    row, truth = row_of(rotation), truth_of(-rotation % 360, scale)
    assert [line.box for line in lines_as_true(row, truth)] == [pytest.approx(b) for b in BOXES]
    assert errors_of(row, truth).errors == 0


@pytest.mark.parametrize("rotation", [None, 0, 90, 180])
def test_boxes_of_the_upright_page_stay(rotation: int | None) -> None:
    assert [line.box for line in lines_as_true(row_of(rotation), truth_of(0))] == BOXES


def test_truth_without_boxes_is_compared_by_its_text() -> None:
    truth = PageTruth("truth", tuple(TextLine(text, None) for text in TEXTS))
    assert errors_of(row_of(90), truth).errors == 0
