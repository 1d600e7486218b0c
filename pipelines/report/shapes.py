"""Labels and lines as SVG shapes, drawn over their picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.lines import LineValue
from pipelines.decisions.triage import Label, Reason
from pipelines.report.svg_paths import mask_path, number, points

#: Most shapes on one picture; doubtful ones come first.
MOST_LABELS, MOST_LINES = 60, 150
#: Number of colours for classes; captions name the class.
PALETTE = 8
#: Most characters of a line's text in its tooltip.
_TEXT = 60


@dataclass(frozen=True)
class Band:
    """Line scores below `below` (0..1) and not in an earlier band. `css`: of its stroke."""

    css: str
    name: str
    below: float


#: From unreliable to reliable, as in `nightjar show --image`.
BANDS = (
    Band("b0", "below 0.60", 0.6),
    Band("b1", "0.60 to 0.80", 0.8),
    Band("b2", "0.80 to 0.90", 0.9),
    Band("b3", "0.90 to 0.97", 0.97),
    Band("b4", "0.97 and above", math.inf),
)
UNKNOWN = Band("bx", "no score", math.nan)


@dataclass(frozen=True)
class Shape:
    """One object or line.

    Attributes:
        css: classes of the group.
        title: tooltip.
        box: x, y, width, height, in pixels of the upright image; or None.
        path: SVG path of the mask, or None.
        line: points of the polygon, or None.
        caption: text beside the box.
    """

    css: str
    title: str
    box: tuple[str, str, str, str] | None = None
    path: str | None = None
    line: str | None = None
    caption: str = ""


def band_of(score: float | None) -> Band:
    """The band of a line score; `UNKNOWN` for None and NaN."""
    if score is None or not math.isfinite(score):
        return UNKNOWN
    return next(band for band in BANDS if score < band.below)


def score_text(score: float | None) -> str:
    """A score with two digits, or "no score"."""
    return "no score" if score is None or not math.isfinite(score) else f"{score:.2f}"


def label_shapes(labels: Sequence[Label], colours: Mapping[str, int]) -> tuple[Shape, ...]:
    """Shapes of labels, at most `MOST_LABELS`, doubtful ones first.

    `colours`: class -> index in the palette.
    """
    ordered = sorted(labels, key=lambda label: (is_candidate(label), not label["reasons"]))
    return tuple(_label(label, colours) for label in ordered[:MOST_LABELS])


def is_candidate(label: Label) -> bool:
    """True for a label below the threshold of its class."""
    return Reason.BELOW_THRESHOLD in (label["reasons"] or ())


def _label(label: Label, colours: Mapping[str, int]) -> Shape:
    reasons = [str(reason) for reason in label["reasons"] or ()]
    state = "candidate" if is_candidate(label) else "doubtful" if reasons else "sure"
    caption = f"{label['class']} {score_text(label['score'])}"
    mask = label["mask"]
    drawn = mask is not None and mask["counts"] is not None and mask["size"] is not None
    return Shape(
        css=f"label {state} k{colours.get(label['class'], 0) % PALETTE}",
        title=": ".join([caption, ", ".join(reasons)] if reasons else [caption]),
        box=_box(label["box"]),
        path=mask_path(mask) if mask and drawn else None,
        caption=f"{caption} ?" if state == "doubtful" else caption,
    )


def _box(box: Sequence[float] | None) -> tuple[str, str, str, str] | None:
    if box is None or not all(map(math.isfinite, box)):
        return None
    x0, y0, x1, y1 = box
    return number(x0), number(y0), number(max(x1 - x0, 0)), number(max(y1 - y0, 0))


def line_shapes(lines: Sequence[LineValue]) -> tuple[Shape, ...]:
    """Shapes of lines, at most `MOST_LINES`, lowest score first."""
    ordered = sorted(lines, key=weakness)
    return tuple(_line(line) for line in ordered[:MOST_LINES])


def weakness(found: LineValue | Label) -> float:
    """The score, to sort by; -1 if unknown."""
    score = found["score"]
    return -1.0 if score is None or not math.isfinite(score) else float(score)


def _line(line: LineValue) -> Shape:
    polygon, text = line["polygon"], line["text"] or "(not read)"
    cut = f"{text[:_TEXT]}..." if len(text) > _TEXT else text
    return Shape(
        css=f"line {band_of(line['score']).css}",
        title=f"{score_text(line['score'])} {cut}",
        line=points(polygon) if polygon and all(map(math.isfinite, polygon)) else None,
    )
