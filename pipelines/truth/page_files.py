"""Readers of true page texts: SROIE lines, plain text, hOCR, and reviewed rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import ConfigError
from pipelines.measures.character_errors import TextLine
from pipelines.runs.directory import RunDir
from pipelines.truth.hocr import hocr_pages
from pipelines.truth.page_match import PageTruth
from pipelines.truth.trust import trust_in

_HOCR = frozenset({".hocr", ".html", ".htm", ".xhtml"})
_PAGE = re.compile(r"(.+)\.page(\d+)$")
#: Eight coordinates and the text, which may contain commas.
_BOXED = re.compile(r"\s*((?:-?\d+(?:\.\d+)?\s*,\s*){8})(.*)$")
_VERDICTS = frozenset({"accept", "correct", "reject"})

FORMATS = (
    "NAME.csv (x1,y1,...,x4,y4,text), NAME.txt or NAME.pageN.txt (text), NAME.hocr, or Parquet of "
    "reviewed rows (a run or its folder reviewed/)"
)


def read_truth(path: Path) -> list[PageTruth]:
    """The pages of a truth file, or of all truth files below a directory.

    * ``.csv``, ``.txt``: SROIE, lines ``x1,y1,...,x4,y4,text`` in pixels of the page. A ``.txt``
      with less than half of its lines in this form is plain text. Files are UTF-8. An empty file is
      a blank page.
    * ``.hocr``, ``.html``: each `ocr_page`, with the boxes of its lines.
    * ``.parquet``: `row_id`, `verdict`, `text` as in `pipelines.review.importing.REVIEWED`. The
      last answer of a row counts (by `reviewed_at`, if there is one). The directory of a run stands
      for its folder `reviewed`.

    `pipelines.truth.trust` says which of them have blanks and an order that count.

    Raises ConfigError if there is no truth or no text in it, or if a file cannot be read, is not
    UTF-8, or does not have the format of its suffix.
    """
    if (path / "run.json").is_file():
        path = _reviews_of(path)
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.is_file() and _reads(one))
        pages = [page for one in files for page in _trusted(one, path)]
    elif path.is_file():
        pages = list(_trusted(path, path.parent))
    else:
        raise ConfigError(
            f"there is no truth at {path}: the file is missing",
            f"give a directory or a file of {FORMATS}",
        )
    if not pages:
        raise ConfigError(f"{path} holds no truth", f"put files there: {FORMATS}")
    if not any(page.lines or page.verdict == "reject" for page in pages):
        raise ConfigError(
            f"the truth at {path} is empty: no file holds text",
            "an empty file means a blank page; check that the files are complete",
        )
    return _last_answers(pages)


def _reviews_of(run: Path) -> Path:
    folder = run / RunDir(run).reviewed.name
    if not folder.is_dir():
        raise ConfigError(
            f"the run {run} has no reviewed rows",
            "review some with nightjar review export and import, or give truth files",
        )
    return folder


def _reads(path: Path) -> bool:
    return path.suffix.lower() in {".csv", ".txt", ".parquet"} | _HOCR


def _trusted(path: Path, root: Path) -> Iterator[PageTruth]:
    """The pages of a file, with what a `truth.yaml` says of them."""
    trust = trust_in(path.parent, root)
    for page in _pages(path, root):
        yield replace(
            page, blanks=trust.get("blanks", page.blanks), order=trust.get("order", page.order)
        )


def _pages(path: Path, root: Path) -> Iterator[PageTruth]:
    if not _reads(path):
        raise ConfigError(
            f"{path.name} is not a truth file: its suffix is {path.suffix or 'missing'}",
            f"the formats are {FORMATS}",
        )
    name = path.relative_to(root).with_suffix("").as_posix()
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            yield from _reviewed(path)
        elif kind in _HOCR:
            yield from _hocr(path, name)
        else:
            yield _text(path, name)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"cannot read truth {path}: {error}", "repair the file, or remove it from the truth"
        ) from None


def _decoded(path: Path) -> str:
    """The text of a UTF-8 file, with or without a BOM. Another encoding would give wrong truth."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _encoding(path, f"byte {error.start} is {error.object[error.start]:#04x}") from None
    if "\0" in text:  # ASCII in UTF-16 is valid UTF-8
        raise _encoding(path, "it holds NUL characters")
    return text


def _encoding(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} is not UTF-8: {why}",
        "convert it to UTF-8: iconv -f LATIN1 -t UTF-8, or iconv -f UTF-16 -t UTF-8",
    )


def _numbered(name: str) -> tuple[str, int | None]:
    """NAME.page3 -> NAME, 3."""
    numbered = _PAGE.match(name)
    return (numbered[1], int(numbered[2])) if numbered else (name, None)


def _text(path: Path, name: str) -> PageTruth:
    name, page = _numbered(name)
    rows = [row for row in _decoded(path).splitlines() if row.strip()]
    boxed = [_BOXED.match(row) for row in rows]
    few = not rows or 2 * sum(map(bool, boxed)) < len(rows)
    if few and path.suffix.lower() == ".txt":
        lines = tuple(TextLine(row) for row in rows)
        return PageTruth(str(path), lines, name, page)
    for row, found in zip(rows, boxed, strict=True):
        if not found:
            raise ConfigError(
                f"{path} has a line that is not x1,y1,x2,y2,x3,y3,x4,y4,text: {row[:60]!r}",
                "correct the line, or give a plain text file the name NAME.txt",
            )
    lines = tuple(_boxed(found) for found in boxed if found)
    return PageTruth(str(path), lines, name, page, blanks=False, order=False)


def _boxed(found: re.Match[str]) -> TextLine:
    numbers = [float(number) for number in found[1].split(",")[:8]]
    xs, ys = numbers[::2], numbers[1::2]
    return TextLine(found[2], (min(xs), min(ys), max(xs), max(ys)))


def _reviewed(path: Path) -> Iterator[PageTruth]:
    file = pq.ParquetFile(path)
    lacking = {"row_id", "verdict", "text"} - set(file.schema_arrow.names)
    if lacking:
        raise ConfigError(
            f"{path} holds no reviewed rows: it lacks the columns {', '.join(sorted(lacking))}",
            "give a file from RUN/reviewed, which nightjar review import writes",
        )
    wanted = ("row_id", "verdict", "text", "reviewed_at")
    names = [name for name in wanted if name in file.schema_arrow.names]
    for row in file.read(columns=names).to_pylist():
        if row["verdict"] not in _VERDICTS:
            raise ConfigError(
                f"{path}, row {row['row_id']}: unknown verdict {row['verdict']!r}",
                f"the verdicts are {', '.join(sorted(_VERDICTS))}",
            )
        if row["text"] is None and row["verdict"] != "reject":
            continue  # an image: its truth is labels
        text = row["text"] or ""
        yield PageTruth(
            where=f"{path} row {row['row_id']}",
            lines=tuple(TextLine(line) for line in text.split("\n") if line.strip()),
            row_id=row["row_id"],
            verdict=row["verdict"],
            answered=row.get("reviewed_at") or "",
        )


def _last_answers(pages: list[PageTruth]) -> list[PageTruth]:
    answers = [page for page in pages if page.row_id is not None]
    last = {page.row_id: page for page in sorted(answers, key=lambda page: page.answered)}
    return [page for page in pages if page.row_id is None] + list(last.values())


def _hocr(path: Path, name: str) -> Iterator[PageTruth]:
    pages = hocr_pages(_decoded(path))
    if not pages:
        raise ConfigError(f"{path} holds no ocr_page", "mark pages with class='ocr_page'")
    images = {page.image for page in pages}
    own_files = len(images) == len(pages) > 1 and None not in images
    for number, page in enumerate(pages, 1):
        if page.loose and not page.lines:
            raise ConfigError(
                f"{path}, page {number}: there is text, but no line",
                "mark lines with class='ocr_line'",
            )
        known, only = (page.image, None) if own_files else _numbered(name)
        several = len(pages) > 1 and not own_files
        yield PageTruth(
            where=f"{path} page {number}",
            lines=tuple(page.lines),
            name=known,
            page=(page.number or number) if several else only,
            size=page.size,
        )
