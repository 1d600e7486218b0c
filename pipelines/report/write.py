"""Collect a report, render it and write it into one file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.decisions.finished import AnyRow
from pipelines.report.cards import COLUMNS, Card, Failure, card_of, failures_of
from pipelines.report.content import content, ordered
from pipelines.report.page import render
from pipelines.report.pictures import Thumbnail, pictures
from pipelines.report.sample import read_chosen
from pipelines.report.scan import Scan, scan
from pipelines.runs.directory import RunDir
from pipelines.storage.output_errors import output_errors
from pipelines.storage.paths import RunPath, write_whole

NAME = "report.html"

#: Outcomes at the start and at the end of the gallery. Failed rows seldom have a picture.
_FIRST, _LAST = ("review", "vlm"), ("failed",)

OnStep = Callable[[str, int, int], None]  #: (step, done, total)


@dataclass(frozen=True)
class Limits:
    """Limits of a report.

    Attributes:
        samples: most rows in the gallery; 0: no pictures, no texts.
        picture_bytes: most bytes of all pictures together.
        seconds: time limit for the counts, and again for the pictures.
    """

    samples: int = 200
    picture_bytes: int = 10_000_000
    seconds: float = 120.0


@dataclass(frozen=True)
class Written:
    """A written report.

    Attributes:
        path, bytes: of the file.
        rows: rows counted.
        all_rows: rows of the run.
        samples: rows in the gallery.
        pictures: samples with a picture.
    """

    path: RunPath
    bytes: int
    rows: int
    all_rows: int
    samples: int
    pictures: int


def write_report(
    run: RunDir,
    out: Path | None = None,
    limits: Limits = Limits(),
    on_step: OnStep = lambda what, done, total: None,
) -> Written:
    """Write RUN/report.html or `out`, completely or not at all.

    Raises RunNotFound, OutputUnwritable, OSError (a shard cannot be read).
    """
    record = run.read_record()
    begun = time.monotonic()
    found = scan(
        run,
        limits.samples,
        begun + limits.seconds,
        on_shard=lambda done, total: on_step("reading shards", done, total),
    )
    rows = _chosen_rows(found)
    cards = _cards(run, found, rows, limits, on_step)
    html = render(content(run, record, found, cards, _examples(found, rows)))
    path = out or run.path / NAME
    data = html.encode("utf-8", "replace")
    with output_errors(path.parent):
        write_whole(path, data)
    return Written(
        path=path,
        bytes=len(data),
        rows=found.tally.rows,
        all_rows=found.rows,
        samples=len(cards),
        pictures=sum(isinstance(card.picture, Thumbnail) for card in cards),
    )


def _chosen_rows(found: Scan) -> dict[int, AnyRow]:
    """Row id -> row, for the gallery and the examples of failures."""
    chosen = {*found.chosen, *found.failures}
    return {
        row["row_id"]: row for rows in read_chosen(found.shards, chosen, COLUMNS) for row in rows
    }


def _cards(
    run: RunDir, found: Scan, rows: Mapping[int, AnyRow], limits: Limits, on_step: OnStep
) -> list[Card]:
    """The cards of the gallery in order. Pages are fetched by document, so each is read once."""
    chosen = [rows[row_id] for _, row_id in found.chosen]
    chosen.sort(key=lambda row: (row["uri"], row["page"]))
    places = {name: place for place, name in enumerate(sorted(found.tally.classes))}
    cards = [card_of(row, run.path, places) for row in chosen]
    until = time.monotonic() + limits.seconds
    got = pictures(run, chosen, limits.picture_bytes, until)
    for done, (card, picture) in enumerate(zip(cards, got, strict=True), start=1):
        card.picture = picture
        on_step("fetching pictures", done, len(cards))
    others = set(found.tally.outcomes) - {*_FIRST, *_LAST}
    outcomes = [*_FIRST, *ordered(others), *_LAST]
    return sorted(cards, key=lambda card: (outcomes.index(card.outcome), card.weakest, card.name))


def _examples(found: Scan, rows: Mapping[int, AnyRow]) -> dict[str, list[tuple[AnyRow, Failure]]]:
    """Failure kind -> a few rows with it."""
    examples: dict[str, list[tuple[AnyRow, Failure]]] = {}
    for _, row_id in dict.fromkeys(found.failures):
        for failure in failures_of(rows[row_id]):
            examples.setdefault(failure.kind, []).append((rows[row_id], failure))
    return {kind: examples[kind][:5] for kind in examples}
