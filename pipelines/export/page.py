"""One page of an export: which text it has, and where each line of it stands."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rapidfuzz.distance import Indel

from actors.failures import FailureValue
from actors.lines import LineValue
from pipelines.decisions.finished import FinishedPage
from pipelines.decisions.routing import PageOutcome
from pipelines.review.answers import ReviewAnswer

#: Columns that a page is made of; what a run lacks is left out.
COLUMNS = (
    *("row_id", "uri", "page", "pages", "etag", "bytes", "kind", "width", "height"),
    *("outcome", "reasons", "text", "text_source", "lines", "lines_source"),
    *("vlm_text", "vlm_lines", "fetch_failure", "ocr_failure", "native_reason"),
)

Include = Literal["all", "trusted"]

#: A line of a corrected text that shares this much with the line that was read is the same line:
#: 1 for equal ones, 0 where no character is shared.
_SAME_LINE = 0.5


class Answers(Protocol):
    """What people said, by row id (`pipelines.review.answers.ReviewAnswers`)."""

    def of(self, row_id: int) -> ReviewAnswer | None: ...


@dataclass(frozen=True)
class ExportLine:
    """A line of a page's text.

    Attributes:
        text: never blank.
        polygon: x0,y0 .. x3,y3 in pixels of the page, None where nobody knows.
        score: 0..1, None where the reader gave none, or somebody else wrote the line.
    """

    text: str
    polygon: tuple[float, ...] | None = None
    score: float | None = None


@dataclass(frozen=True)
class ExportPage:
    """A page as it is exported.

    Attributes:
        row: as the run has it.
        text: None where there is none, or none is wanted.
        source: who read it; "reviewed" for a person.
        lines: of `text`, in its order.
        reviewed: the verdict of the person who looked, if anybody did.
        why: what speaks for an empty page: "failed", "blank", "review"; None where there is text.
    """

    row: FinishedPage
    text: str | None
    source: str | None
    lines: tuple[ExportLine, ...]
    reviewed: str | None
    why: str | None

    @property
    def number(self) -> int:
        """From 1."""
        return self.row["page"]

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, where they are known."""
        width, height = self.row["width"], self.row["height"]
        return (width, height) if width and height else None

    @property
    def failure(self) -> FailureValue | None:
        """The first failure of the row."""
        return self.row.get("fetch_failure") or self.row.get("ocr_failure")

    @property
    def unplaced(self) -> bool:
        """Whether a line has no place on the page."""
        return any(line.polygon is None for line in self.lines)

    def counts(self) -> Counter[str]:
        """How it counts in a summary: one page, with text or why not, and how it is placed."""
        found = Counter({"pages": 1, f"text: {self.why or _kind_of(self.source)}": 1})
        if self.lines and self.unplaced:
            found["unplaced"] = 1
        return found


def page_of(row: FinishedPage, answers: Answers | None, include: Include) -> ExportPage:
    """What is exported of a row.

    Args:
        row: the `COLUMNS` that the run has.
        answers: what people said; None: nobody is asked. A page that was accepted or corrected has
            their text, whatever its outcome; one that was rejected keeps the text that was read.
        include: `trusted` leaves out the text of pages that wait for review, or were rejected.
    """
    answer = None if answers is None else answers.of(row["row_id"])
    verdict = answer.verdict if answer else None
    text, source = row["text"], row["text_source"]
    doubtful = row["outcome"] == PageOutcome.REVIEW or verdict == "reject"
    if answer and answer.truth is not None:
        doubtful = False
        if answer.truth != text:
            text, source = answer.truth, "reviewed"
    if text is None:
        return ExportPage(row, None, None, (), verdict, "failed")
    if doubtful and include == "trusted":
        return ExportPage(row, None, None, (), verdict, "review")
    readings = [row.get("lines"), row.get("vlm_lines")]
    lines = placed(text, [lines for lines in readings if lines])
    return ExportPage(row, text, source, lines, verdict, None if lines else "blank")


def placed(text: str, readings: Sequence[Sequence[LineValue]]) -> tuple[ExportLine, ...]:
    """The lines of a text, at the places of the reading that it is, or was made of.

    A text that equals a reading has its places and scores. One that has as many lines, each of
    them much like the line in its place, is a correction of it: it has its places. Of any other
    text (a model's answer to the whole page, a page typed anew) nobody knows where its lines are.

    Args:
        text: of a page.
        readings: the lines of each reader, the likeliest first.
    """
    texts = [line.strip() for line in text.splitlines() if line.strip()]
    for reading in readings:
        lines = [line for line in reading if (line["text"] or "").strip()]
        if [line["text"].strip() for line in lines] == texts:
            return tuple(
                ExportLine(text, _polygon(line), _score(line))
                for text, line in zip(texts, lines, strict=True)
            )
    for reading in readings:
        lines = [line for line in reading if (line["text"] or "").strip()]
        if len(lines) == len(texts) and all(map(_alike, texts, lines)):
            return tuple(map(_corrected, texts, lines))
    return tuple(map(ExportLine, texts))


def _alike(text: str, line: LineValue) -> bool:
    return Indel.normalized_similarity(text, line["text"].strip()) >= _SAME_LINE


def _corrected(text: str, line: LineValue) -> ExportLine:
    score = _score(line) if line["text"].strip() == text else None
    return ExportLine(text, _polygon(line), score)


def _polygon(line: LineValue) -> tuple[float, ...] | None:
    return tuple(line["polygon"]) if line["polygon"] else None


def _score(line: LineValue) -> float | None:
    score = line["score"]
    return score if score is not None and math.isfinite(score) else None


def _kind_of(source: str | None) -> str:
    first = (source or "unknown").split(" ")[0]
    return first if first in ("native", "vlm", "reviewed") else "ocr"


def paragraphs(page: ExportPage) -> list[list[ExportLine]]:
    """The lines of a page in paragraphs.

    By place: a line that starts further up than the one before it ended (a new column), or lies
    further below it than 0.7 of the page's median line height, begins one. Lines without a place
    are parted by the blank lines of the text.
    """
    if not page.lines:
        return []
    if page.unplaced:
        return _by_blank_lines(page)
    boxes = [_extent(line) for line in page.lines]
    heights = sorted(bottom - top for top, bottom in boxes)
    height = heights[len(heights) // 2]
    found = [[page.lines[0]]]
    for line, before, box in zip(page.lines[1:], boxes, boxes[1:], strict=False):
        gap = box[0] - before[1]
        if gap > 0.7 * height or box[1] < before[0]:
            found.append([])
        found[-1].append(line)
    return found


def _extent(line: ExportLine) -> tuple[float, float]:
    ys = (line.polygon or (0.0, 0.0))[1::2]
    return min(ys), max(ys)


def _by_blank_lines(page: ExportPage) -> list[list[ExportLine]]:
    found: list[list[ExportLine]] = [[]]
    lines = iter(page.lines)
    for line in (page.text or "").splitlines():
        if line.strip():
            found[-1].append(next(lines))
        elif found[-1]:
            found.append([])
    return [one for one in found if one]
