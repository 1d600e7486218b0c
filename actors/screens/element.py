"""The types of what lies on a screen, in Arrow and in Python."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

#: One element of a screenshot.
#:
#: * `type`: ``icon`` (anything that can be clicked, with or without text in it) or ``text``.
#: * `box`: x0, y0, x1, y1 in pixels of the upright image, inside 0..width and 0..height.
#: * `interactive`: whether it is thought to answer to a click: icons are, text is not.
#: * `text`: what the OCR reader read in it; null: nothing.
#: * `caption`: what a model says that it shows; null where it has text, or nobody was asked.
#: * `score`: of finding it, 0..1: the icon detector's, or that of the line; null means unknown.
#: * `content_score`: of `text` or `caption`, 0..1: the lowest of its lines, or the mean probability
#:   of the caption's tokens; null means unknown.
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

#: The column `elements`, in reading order. Empty: nothing found. Null: not looked at.
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
