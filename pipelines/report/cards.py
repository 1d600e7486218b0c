"""One card of the gallery: a row with its labels or lines, reasons and failures."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.decisions.finished import AnyRow, FinishedPage
from pipelines.decisions.triage import Label
from pipelines.report.pictures import NoPicture, Thumbnail
from pipelines.report.shapes import (
    MOST_LABELS,
    MOST_LINES,
    Band,
    Shape,
    band_of,
    is_candidate,
    label_shapes,
    line_shapes,
    score_text,
    weakness,
)
from pipelines.report.views import bare
from pipelines.sources.manifest import MANIFEST
from pipelines.storage.paths import RunPath

#: Columns used for a card, besides the failures. Older runs lack some of them.
COLUMNS = (
    *MANIFEST.names,
    *("width", "height", "rotation", "outcome", "reasons", "instances"),
    *("text", "text_source", "lines", "lines_source", "evidence", "vlm_text", "vlm_model"),
)
#: Most rows of a table of labels or lines; most characters of a text and of a failure's message.
_ROWS, _TEXT, _MESSAGE = 20, 1500, 600
_EVIDENCE = {
    "mean_score": "mean line score",
    "p10_score": "10th percentile of line scores",
    "weak_share": "characters in weak lines",
    "ink_covered": "ink inside lines",
    "text_outside": "text outside lines",
    "unread_script": "lines in unreadable scripts",
    "unread_letters": "lines with unreadable letters",
    "unread_ink": "line ink not read",
    "order_doubt": "lines in an uncertain order",
    "garbled": "garbled characters",
    "expected_cer": "expected CER",
}


@dataclass(frozen=True)
class Failure:
    """A value of FAILURE with its stage."""

    stage: str
    kind: str
    message: str


@dataclass(frozen=True)
class LabelRow:
    """One label as a row of the card's table."""

    name: str
    score: str
    mask_iou: str
    state: str


@dataclass(frozen=True)
class LineRow:
    """One line as a row of the card's table."""

    score: str
    band: Band
    text: str


@dataclass
class Card:
    """A row as the gallery shows it.

    Attributes:
        name, folder: parts of its URI.
        command: the command that shows the whole row.
        reasons: names without values, and kinds of failures; used as a filter.
        classes: of its labels, without candidates; used as a filter.
        weakest: lowest score of its labels or lines, 0..1; 1 without any.
        picture: the picture, or the reason why there is none.
        summary: short description of the findings.
        left_out: note about shapes that are not drawn.
    """

    row_id: int
    name: str
    folder: str
    page: str
    outcome: str
    width: int
    height: int
    command: str
    reasons: list[str]
    classes: list[str]
    failures: list[Failure]
    weakest: float = 1.0
    picture: Thumbnail | NoPicture = field(default_factory=lambda: NoPicture("not fetched"))
    summary: str = ""
    left_out: str = ""
    shapes: Sequence[Shape] = ()
    labels: Sequence[LabelRow] = ()
    lines: Sequence[LineRow] = ()
    evidence: Sequence[tuple[str, str]] = ()
    texts: Sequence[tuple[str, str]] = ()


def card_of(row: AnyRow, run: RunPath, colours: Mapping[str, int]) -> Card:
    """The card of a row.

    Args:
        row: those of `COLUMNS` that its shard has, and its failures.
        run: the run directory, for the command.
        colours: class -> index in the palette.
    """
    folder, _, name = str(row["uri"]).rpartition("/")
    failures = failures_of(row)
    pages = row.get("pages") or 1
    card = Card(
        row_id=row["row_id"],
        name=name or str(row["uri"]),
        folder=folder,
        page=f"page {row['page']} of {pages}" if pages > 1 else "",
        outcome=row["outcome"] or "(none)",
        width=row.get("width") or 0,
        height=row.get("height") or 0,
        command=shlex.join(["nightjar", "show", str(run), "--row", str(row["row_id"])]),
        reasons=[*dict.fromkeys([*map(bare, row["reasons"] or ()), *(f.kind for f in failures)])],
        classes=[],
        failures=failures,
    )
    if "instances" not in row:
        _add_reading(card, row)
    elif row["instances"] is None:
        card.summary = "not labelled"
    else:
        _add_labels(card, row["instances"], colours)
    return card


def failures_of(row: Mapping[str, Any]) -> list[Failure]:
    """The failures of a row, in the order of its columns."""
    return [
        Failure(name.removesuffix("_failure"), value["kind"], shortened(value["message"] or ""))
        for name, value in row.items()
        if name.endswith("_failure") and value is not None
    ]


def shortened(message: str, most: int = _MESSAGE) -> str:
    """Head and tail of a long text. The tail matters: a traceback ends with its error."""
    if len(message) <= most:
        return message
    return f"{message[: most // 3]} [...] {message[-2 * most // 3 :]}"


def _add_labels(card: Card, labels: Sequence[Label], colours: Mapping[str, int]) -> None:
    kept = [label for label in labels if not is_candidate(label)]
    card.classes = sorted({str(label["class"]) for label in kept})
    card.shapes = label_shapes(labels, colours)
    card.weakest = max(0.0, min(map(weakness, kept), default=1.0))
    rows = sorted(kept, key=weakness)[:_ROWS]
    card.labels = [
        LabelRow(
            str(label["class"]),
            score_text(label["score"]),
            _share(label["mask_iou"]) if label["mask"] else "no mask",
            ", ".join(label["reasons"] or ()) or "no reason for review",
        )
        for label in rows
    ]
    candidates = len(labels) - len(kept)
    card.summary = _plural(len(kept), "label")
    if candidates:
        card.summary += f", {_plural(candidates, 'candidate')} below the threshold"
    card.left_out = _left_out(len(labels), MOST_LABELS)


def _add_reading(card: Card, row: FinishedPage) -> None:
    lines, text, second = row.get("lines"), row.get("text"), row.get("vlm_text")
    if text is not None:
        card.texts = [(row.get("text_source") or "text", shortened(text, _TEXT))]
    if second is not None and second != text:
        card.texts = [*card.texts, (row.get("vlm_model") or "vlm", shortened(second, _TEXT))]
    if lines is None:
        card.summary = "no text" if text is None else f"{_plural(len(text), 'character')}"
        return
    card.shapes = line_shapes(lines)
    scored = [line for line in lines if weakness(line) >= 0]
    card.weakest = min(map(weakness, scored), default=0.0 if lines else 1.0)
    rows = sorted(lines, key=weakness)[:_ROWS]
    card.lines = [
        LineRow(score_text(one["score"]), band_of(one["score"]), one["text"] or "") for one in rows
    ]
    card.evidence = [*_evidence(row.get("evidence") or {})]
    card.summary = _plural(len(lines), "line")
    if scored:
        card.summary += f", lowest score {card.weakest:.2f}"
    card.left_out = _left_out(len(lines), MOST_LINES)


def _evidence(evidence: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, words in _EVIDENCE.items():
        if evidence.get(name) is not None:
            yield words, _share(evidence[name])


def _share(value: float | None) -> str:
    return "unknown" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _plural(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _left_out(count: int, most: int) -> str:
    return f"Only the {most} weakest of {count:,} are drawn" if count > most else ""
