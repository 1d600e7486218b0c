"""Vertical lines of Han and kana: columns from right to left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from actors.lines import VERTICAL, is_ideographic
from actors.ocr.order.boxes import Box

#: Share of Han and kana in its letters from which a tall line is vertical text. A tall box with
#: other letters is a turned line.
_IDEOGRAPHIC = 0.5


def is_vertical(box: Box) -> bool:
    """Whether a box is a vertical line of two or more Han or kana; its text must be known."""
    letters = [letter for letter in box.text or "" if not letter.isspace()]
    if len(letters) < 2 or box.height < VERTICAL * box.width:
        return False
    return sum(map(is_ideographic, letters)) >= _IDEOGRAPHIC * len(letters)


def turned(boxes: Sequence[Box]) -> list[Box]:
    """Vertical lines as rows: the page turned by 90 degrees to the left. The rightmost line becomes
    the first row, and lines below each other become columns from left to right."""
    return [replace(box, x0=box.y0, x1=box.y1, y0=-box.x1, y1=-box.x0) for box in boxes]
