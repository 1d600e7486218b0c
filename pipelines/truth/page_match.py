"""The true texts of pages, and the row of the run that each of them belongs to.

`pipelines.truth.page_files` reads the formats, `pipelines.measures.character_errors` compares the
texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from actors.images.turning import turned_polygon, turned_size
from actors.lines import LineValue
from pipelines.decisions.finished import FinishedPage
from pipelines.errors import ConfigError
from pipelines.measures.character_errors import Box, PageErrors, TextLine, compare
from pipelines.storage.objects import plain_path

#: Columns of a run that matching and comparing need.
COLUMNS = ("row_id", "uri", "page", "pages", "width", "height", "lines")
ROTATION = "rotation"  #: a further one; older runs lack it

_SHOWN = 5  #: names in a message


@dataclass(frozen=True)
class PageTruth:
    """The true text of one page.

    Attributes:
        where: the file (and row or page in it), for messages.
        lines: boxes in pixels of a page of `size`, where there are boxes.
        name: end of the page's URI, with or without its suffix; None: `row_id` names the page.
        page: from 1; None: the file has one page.
        row_id: of a reviewed row.
        size: size of the page in pixels of the boxes (width, height); None: as in the run.
        verdict: of a reviewer: accept, correct, or reject (which is no truth).
        answered: time of the reviewer's answer, ISO 8601; "": unknown.
        blanks, order: whether the blanks of the texts, and the order of the lines, are those of the
            page; see `pipelines.truth.trust`.
    """

    where: str
    lines: tuple[TextLine, ...]
    name: str | None = None
    page: int | None = None
    row_id: int | None = None
    size: tuple[float, float] | None = None
    verdict: str | None = None
    answered: str = ""
    blanks: bool = True
    order: bool = True


@dataclass
class Matched:
    """Rows with their truth, and rows and truths without a partner."""

    pairs: list[tuple[FinishedPage, PageTruth]] = field(default_factory=list)
    without_truth: list[str] = field(default_factory=list)  #: uri and page of rows
    unused: list[str] = field(default_factory=list)  #: `where` of truths


def match(rows: Sequence[FinishedPage], truths: Sequence[PageTruth]) -> Matched:
    """Give each row its truth: by row id, else by file name and page.

    A truth has the name of the file, with or without its suffix: ``a``, ``a.jpg`` and ``scans/a``
    fit ``scans/a.jpg``, and the longest name wins. A member of an archive is named as a file in a
    folder ``x.zip``, or ``x.zip.member``.

    Args:
        rows: with at least row_id, uri, page (from 1) and pages (of the file).
        truths: from `pipelines.truth.page_files.read_truth`.

    Raises ConfigError if a row has two truths or a truth two rows, if a truth without a page number
    fits a file of several pages, or if nothing matches.
    """
    by_id = {truth.row_id: truth for truth in truths if truth.row_id is not None}
    by_name: dict[str, list[PageTruth]] = defaultdict(list)
    for truth in truths:
        if truth.name is not None:
            by_name[truth.name].append(truth)
    matched, owners = Matched(), dict[str, str]()
    for row in rows:
        shown = f"{row['uri']} page {row['page']}"
        found = _only(by_id.get(row["row_id"]), _named(row, by_name, shown), shown)
        if found is None:
            matched.without_truth.append(shown)
            continue
        if found.where in owners:
            raise ConfigError(
                f"truth {found.where} fits two pages of the run: {owners[found.where]} and {shown}",
                "give the truth a longer name: the end of the URI of only one page, with suffix",
            )
        owners[found.where] = shown
        matched.pairs.append((row, found))
    matched.unused = [truth.where for truth in truths if truth.where not in owners]
    if not matched.pairs:
        raise _nothing(matched)
    return matched


def _only(by_id: PageTruth | None, named: PageTruth | None, shown: str) -> PageTruth | None:
    if by_id is not None and named is not None:
        raise _two(by_id, named, shown)
    return named if by_id is None else by_id


def _two(one: PageTruth, other: PageTruth, shown: str) -> ConfigError:
    return ConfigError(
        f"two truths for {shown}: {one.where} and {other.where}",
        "remove one of them",
    )


def _named(
    row: FinishedPage, by_name: Mapping[str, list[PageTruth]], shown: str
) -> PageTruth | None:
    hits = next((by_name[name] for name in names_of(row["uri"]) if name in by_name), [])
    fitting = [truth for truth in hits if truth.page in (None, row["page"])]
    if len(fitting) > 1:
        raise _two(fitting[0], fitting[1], shown)
    if fitting and fitting[0].page is None and (row.get("pages") or 1) > 1:
        raise ConfigError(
            f"truth {fitting[0].where} names no page, and {row['uri']} has {row['pages']} pages",
            "name it NAME.page1.txt, NAME.page2.txt ...",
        )
    return fitting[0] if fitting else None


def names_of(uri: str) -> Iterator[str]:
    """The names that the truth of a file may have, longest first."""
    plain = plain_path(uri)
    path = plain.partition("://")[2] or plain
    archive, inside, member = path.partition("!/")
    spellings = [path.replace("!/", "/")]
    if inside:
        spellings.append(f"{archive}.{member.replace('/', '.')}")
    for spelling in spellings:
        parts = spelling.split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            yield tail
            if PurePosixPath(tail).suffix:
                yield tail[: -len(PurePosixPath(tail).suffix)]


def _nothing(matched: Matched) -> ConfigError:
    pages = ", ".join(matched.without_truth[:_SHOWN]) or "none"
    files = ", ".join(matched.unused[:_SHOWN]) or "none"
    return ConfigError(
        f"no truth fits a page of the run; pages: {pages}; truth: {files}",
        "name truth files like the files of the run: NAME.csv, NAME.txt, NAME.pageN.txt, NAME.hocr",
    )


def errors_of(row: FinishedPage, truth: PageTruth) -> PageErrors:
    """Compare a row (its `lines`, `width`, `height`) with its truth."""
    return compare(*both_sides(row, truth))


def both_sides(row: FinishedPage, truth: PageTruth) -> tuple[list[TextLine], list[TextLine]]:
    """The read lines and the true lines of a row, both in pixels of the run's page."""
    return lines_as_read(row["lines"] or ()), lines_as_true(row, truth)


def lines_as_read(lines: Sequence[LineValue]) -> list[TextLine]:
    """Read lines with their boxes."""
    return [TextLine(line["text"] or "", _box(line["polygon"])) for line in lines]


def lines_as_true(row: FinishedPage, truth: PageTruth) -> list[TextLine]:
    """True lines with their boxes, in pixels of the row's page.

    A page that was turned to be read has boxes of the upright page, and its truth often those of
    the page as it lies in the file. Of the two, those count that hold more of the read lines.
    """
    size = row.get("width"), row.get("height")
    lines, turn = _scaled(truth, *size), row.get("rotation") or 0
    if not turn or not size[0] or not size[1]:
        return lines
    lies = turned_size((size[0], size[1]), -turn % 360)
    upright = [
        TextLine(line.text, line.box and _box(turned_polygon(line.box, turn, lies)))
        for line in _scaled(truth, *lies)
    ]
    read = lines_as_read(row["lines"] or ())
    return min(
        upright, lines, key=lambda one: (-_lines_inside(read, one), compare(read, one).errors)
    )


def _lines_inside(read: Sequence[TextLine], truth: Sequence[TextLine]) -> int:
    """Number of read lines whose centre is in a box of the truth."""
    boxes = [line.box for line in truth if line.box]
    centres = [
        ((line.box[0] + line.box[2]) / 2, (line.box[1] + line.box[3]) / 2)
        for line in read
        if line.box
    ]
    return sum(any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes) for x, y in centres)


def _box(polygon: Sequence[float] | None) -> Box | None:
    if polygon is None:
        return None
    xs, ys = polygon[::2], polygon[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _scaled(truth: PageTruth, width: int | None, height: int | None) -> list[TextLine]:
    """The lines of a truth, with their boxes scaled to a page of this size."""
    if not truth.size or not width or not height or not all(truth.size):
        return list(truth.lines)
    x, y = width / truth.size[0], height / truth.size[1]
    return [
        TextLine(
            line.text,
            line.box and (line.box[0] * x, line.box[1] * y, line.box[2] * x, line.box[3] * y),
        )
        for line in truth.lines
    ]
