"""One page of an export: its text and the position of each line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal, Protocol, TypeAlias

from rapidfuzz.distance import Indel

from actors.failures import FailureValue
from actors.lines import LineValue, cell_text, text_rows
from pipelines.decisions.finished import FinishedPage
from pipelines.decisions.routing import PageOutcome
from pipelines.export.characters import clean_text
from pipelines.review.answers import ReviewAnswer

#: Columns used for a page. Older runs lack some of them.
COLUMNS = (
    *("row_id", "uri", "page", "pages", "etag", "bytes", "kind", "width", "height", "rotation"),
    *("outcome", "reasons", "text", "text_source", "lines", "lines_source"),
    *("vlm_text", "vlm_lines", "fetch_failure", "ocr_failure", "native_reason"),
    "notes",
)

Include = Literal["all", "trusted"]
#: The cells of a row of text, and the lines of each cell.
Row: TypeAlias = list[list[LineValue]]

#: Similarity from which a corrected row is the same row as the one that was read: 1 for equal
#: rows, 0 without a common character.
_SAME_LINE = 0.5


class Answers(Protocol):
    """Reviewers' answers by row id (`pipelines.review.answers.ReviewAnswers`)."""

    def of(self, row_id: int) -> ReviewAnswer | None: ...


@dataclass(frozen=True)
class ExportLine:
    """A line of a page's text.

    Attributes:
        text: never blank.
        polygon: x0,y0 .. x3,y3 in pixels of the page; None if unknown.
        score: 0..1; None if the reader gave none, or the line was corrected.
        row, column: see `actors.lines.LINE`.
    """

    text: str
    polygon: tuple[float, ...] | None = None
    score: float | None = None
    row: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class ExportPage:
    """A page as it is exported.

    Attributes:
        row: of the run.
        text: None if there is none or it is left out; without control characters.
        source: of the text; "reviewed" for a reviewer's text.
        lines: of `text`, in its order.
        reviewed: the reviewer's verdict, or None.
        why: reason for an empty page: "failed", "blank", "review"; None for a page with text.
    """

    row: FinishedPage
    text: str | None
    source: str | None
    lines: tuple[ExportLine, ...]
    reviewed: str | None
    why: str | None

    @property
    def number(self) -> int:
        """Page number, from 1."""
        return self.row["page"]

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the upright page in pixels; None if unknown."""
        width, height = self.row["width"], self.row["height"]
        return (width, height) if width and height else None

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which the page of the file was turned to stand upright."""
        return self.row.get("rotation") or 0

    @property
    def failure(self) -> FailureValue | None:
        """The first failure of the row."""
        return self.row.get("fetch_failure") or self.row.get("ocr_failure")

    @property
    def unplaced(self) -> bool:
        """True if any line has no position."""
        return any(line.polygon is None for line in self.lines)

    def counts(self) -> Counter[str]:
        """Its counts in a summary: one page, the source of its text, and missing positions."""
        found = Counter({"pages": 1, f"text: {self.why or _kind_of(self.source)}": 1})
        if self.lines and self.unplaced:
            found["unplaced"] = 1
        return found


def page_of(row: FinishedPage, answers: Answers | None, include: Include) -> ExportPage:
    """The exported page of a row.

    Args:
        row: those of `COLUMNS` that the run has.
        answers: reviewers' answers; None: ignore them. An accepted or corrected page has the
            reviewer's text, whatever its outcome. A rejected page keeps the text of the run.
        include: `trusted` leaves out the text of pages that wait for review or were rejected.
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
    found = placed(text, [lines for lines in readings if lines])
    lines = tuple(replace(line, text=clean_text(line.text)) for line in found)
    return ExportPage(row, clean_text(text), source, lines, verdict, None if lines else "blank")


def placed(text: str, readings: Sequence[Sequence[LineValue]]) -> tuple[ExportLine, ...]:
    """The lines of a text, with the positions of the reading that it came from.

    A text that equals a reading has its positions and scores. A text with the same number of rows,
    each similar to its counterpart, is a correction of the reading and has its positions. Any other
    text (a model's answer to the whole page, a retyped page) has no positions.

    Args:
        text: of a page, see `actors.lines.page_text`.
        readings: lines of each reader, most likely reader first.
    """
    texts = [line.strip() for line in text.split("\n") if line.strip()]
    found = [list(text_rows(line for line in lines if _has_text(line))) for lines in readings]
    for rows in found:
        if list(map(_row_text, rows)) == texts:
            return tuple(_read(line) for row in rows for cell in row for line in cell)
    for rows in found:
        if len(rows) == len(texts) and all(map(_alike, texts, rows)):
            return tuple(chain.from_iterable(map(_corrected, texts, rows)))
    return tuple(ExportLine(text.replace("\t", " ")) for text in texts)


def _has_text(line: LineValue) -> bool:
    return bool((line["text"] or "").strip())


def _row_text(row: Row) -> str:
    return "\t".join(map(cell_text, row)).strip()


def _alike(text: str, row: Row) -> bool:
    return Indel.normalized_similarity(text, _row_text(row)) >= _SAME_LINE


def _read(line: LineValue) -> ExportLine:
    place = line.get("row"), line.get("column")
    return ExportLine(line["text"].strip(), _polygon(line), _score(line), *place)


def _corrected(text: str, row: Row) -> Iterator[ExportLine]:
    """The lines of a corrected row. Unchanged cells keep their lines and scores; a changed cell is
    one line; a row with another number of cells becomes one cell."""
    texts = text.split("\t")
    if len(texts) != len(row):
        texts, row = [text.replace("\t", " ")], [[line for cell in row for line in cell]]
    for part, cell in zip(texts, row, strict=True):
        if part.strip() == cell_text(cell).strip():
            yield from map(_read, cell)
        elif part.strip():
            place = cell[0].get("row"), cell[0].get("column")
            yield ExportLine(part.strip(), _around(cell), None, *place)


def _around(cell: Sequence[LineValue]) -> tuple[float, ...] | None:
    """The polygon of a line, or the box around several; None if any is unknown."""
    polygons = [_polygon(line) for line in cell]
    known = [polygon for polygon in polygons if polygon]
    if len(known) < len(polygons):
        return None
    if len(known) == 1:
        return known[0]
    xs = [x for polygon in known for x in polygon[::2]]
    ys = [y for polygon in known for y in polygon[1::2]]
    return (min(xs), min(ys), max(xs), min(ys), max(xs), max(ys), min(xs), max(ys))


def _polygon(line: LineValue) -> tuple[float, ...] | None:
    return tuple(line["polygon"]) if line["polygon"] else None


def _score(line: LineValue) -> float | None:
    score = line["score"]
    return score if score is not None and math.isfinite(score) else None


def _kind_of(source: str | None) -> str:
    first = (source or "unknown").split(" ")[0]
    return first if first in ("native", "vlm", "reviewed") else "ocr"


def paragraphs(page: ExportPage) -> list[list[ExportLine]]:
    """The lines of a page, grouped into paragraphs.

    A paragraph begins at a line that is above the one before it (a new column), or more than 0.7
    of the page's median line height below it. Without positions, blank lines separate paragraphs.
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


def rows_of(lines: Iterable[ExportLine]) -> list[list[ExportLine]]:
    """The lines of each row of text; a line without a row is a row of its own."""
    found: list[list[ExportLine]] = []
    for line in lines:
        if found and line.row is not None and line.row == found[-1][-1].row:
            found[-1].append(line)
        else:
            found.append([line])
    return found


def _extent(line: ExportLine) -> tuple[float, float]:
    ys = (line.polygon or (0.0, 0.0))[1::2]
    return min(ys), max(ys)


def _by_blank_lines(page: ExportPage) -> list[list[ExportLine]]:
    found: list[list[ExportLine]] = [[]]
    rows = iter(rows_of(page.lines))
    for line in (page.text or "").split("\n"):
        if line.strip():
            found[-1] += next(rows)
        elif found[-1]:
            found.append([])
    return [one for one in found if one]
