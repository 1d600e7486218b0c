"""Elements of a screenshot, as Arrow types and as typed dicts."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

#: One element of a screenshot.
#:
#: * `type`: ``icon`` (clickable, with or without text) or ``text``.
#: * `box`: x0, y0, x1, y1 in pixels of the upright image, inside 0..width and 0..height.
#: * `interactive`: true for icons, false for text.
#: * `text`: text of the OCR reader inside the element; null: none.
#: * `caption`: the captioner's description; null if the element has text or captions are off.
#: * `score`: detection score, 0..1, of the icon detector or the text line; null means unknown.
#: * `content_score`: score of `text` or `caption`, 0..1: the lowest score of its lines, or the mean
#:   probability of the caption's tokens; null means unknown.
ELEMENT = pa.struct(
    [
        ("type", pa.string()),
        ("box", pa.list_(pa.float32(), 4)),
        ("interactive", pa.bool_()),
        ("text", pa.string()),
        ("caption", pa.string()),
        ("score", pa.float32()),
        ("content_score", pa.float32()),
    ]
)

#: The column `elements`, in reading order. Empty: nothing found. Null: not processed.
ELEMENTS = pa.list_(ELEMENT)


class ElementValue(TypedDict):
    """A value of ELEMENT."""

    type: str
    box: list[float]
    interactive: bool
    text: str | None
    caption: str | None
    score: float | None
    content_score: float | None
