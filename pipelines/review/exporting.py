"""A run -> a folder of items and images that a person or a labelling tool fills."""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from actors.failures import FailureKind, failure
from pipelines.decisions.finished import AnyRow
from pipelines.errors import ConfigError
from pipelines.review.importing import reviewed_ids
from pipelines.review.items import COLUMNS, IMAGES, ITEMS, README, ItemValue, as_json, item_of
from pipelines.review.queue import Queue, queued, queued_rows
from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import RefetchedPage, Refetcher
from pipelines.storage.output_errors import output_errors

#: Pages in memory at once: 32 of A4 at 200 dpi are some 20 MB as files.
_PAGES = 32

_PNG = b"\x89PNG\r\n\x1a\n"

_HOW_TO = """\
{items}: one item a line, the most to gain first. Set "verdict" to "accept" (pages: readings[0] is \
true, or the reading that you copy into "text"; images: all of "instances" are true), "correct" \
(pages: write the true "text"; images: delete from "instances", change their class or box, move up \
from "candidates", add) or "reject" (of no use as truth).
Leave "verdict": null where you have not looked; fill some lines, import, fill more, import again: \
the last import of a row counts. "note" is for a remark.
To import: nightjar review import {run} {out} [--reviewer NAME]
"""

OnItems = Callable[[int, int], None]  #: items done, of how many


@dataclass
class ReviewExport:
    """What was written, and what was not.

    Attributes:
        items: lines of items.jsonl.
        images: of those that have a picture.
        missing: failure kind -> items without one.
        beyond: items that wait but are beyond the limit.
        reviewed: rows of these outcomes that were left out because somebody has reviewed them.
    """

    items: int = 0
    images: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    beyond: int = 0
    reviewed: int = 0


def export_review(
    run: RunDir,
    out: Path,
    *,
    limit: int | None = None,
    failed: bool = False,
    again: bool = False,
    on_items: OnItems = lambda done, total: None,
) -> ReviewExport:
    """Write what waits for a person into the directory `out`: whole or not at all.

    Two passes over the shards: the keys of all that waits (24 bytes a row), then the rows chosen,
    in the order in which they are stored, so that a document is fetched once; the lines are put in
    the order of the queue at the end. Pages are fetched again as the run fetched them; one that
    cannot be any more has ``image: null`` and ``image_failure``.

    Args:
        run: of either job; its shards are only read.
        out: must not exist, or be empty.
        limit: items at most; those with the most gain (`pipelines.review.gain`).
        failed: rows with outcome `failed` as well as `review`.
        again: rows that were reviewed already as well.
        on_items: called after every batch.

    Raises:
        ConfigError: `out` holds something, or the run's config is not one of this version.
        RunNotFound, OutputUnwritable.
    """
    job = run.read_record()["job"]
    done = np.empty(0, np.int64) if again else reviewed_ids(run)
    queue = queued(run, {"review", "failed"} if failed else {"review"}, done, limit)
    summary = ReviewExport(items=len(queue), beyond=queue.beyond, reviewed=queue.skipped)
    with _whole(out) as folder:
        (folder / IMAGES).mkdir()
        (folder / README).write_text(_HOW_TO.format(items=ITEMS, run=run.path, out=out))
        with _Lines(folder, len(queue)) as lines:
            for place, item in _items(run, job, queue, folder):
                lines.write(int(queue.rank[place]), as_json(item) + "\n")
                _count(summary, item)
                if lines.written % _PAGES == 0 or lines.written == len(queue):
                    on_items(lines.written, len(queue))
    return summary


def _items(run: RunDir, job: str, queue: Queue, folder: Path) -> Iterator[tuple[int, ItemValue]]:
    """(place in the queue's arrays, item), as stored; the pictures are written on the way."""
    if not len(queue):
        return
    refetch = Refetcher(run)
    with ThreadPoolExecutor(os.cpu_count()) as savers:  # Pillow's codecs let go of the GIL
        for table in queued_rows(run, queue, COLUMNS):
            places = queue.places(table["row_id"].to_numpy())
            for start in range(0, table.num_rows, _PAGES):
                rows: list[AnyRow] = table.slice(start, _PAGES).to_pylist()
                pages = refetch(rows)
                files = [folder / IMAGES / f"{row['row_id']}.png" for row in rows]
                list(savers.map(_save, pages, files))
                chosen = places[start : start + _PAGES].tolist()
                for place, row, fetched in zip(chosen, rows, pages, strict=True):
                    yield place, item_of(row, job, float(queue.gain[place]), fetched)


def _save(fetched: RefetchedPage, path: Path) -> None:
    """Write the picture as PNG, or put into `fetched` why it cannot be.

    zlib level 1: 67 ms for a JPEG of 807 x 1390 pixels, 234 ms at Pillow's own 6, for 4 % less.
    """
    data = fetched["image"]
    if data is None:
        return
    if data.startswith(_PNG):
        path.write_bytes(data)
        return
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        image.load()
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        fetched["fetch_failure"] = failure(FailureKind.CORRUPT_IMAGE, str(error))
    else:
        image.save(path, "PNG", compress_level=1)


def _count(summary: ReviewExport, item: ItemValue) -> None:
    fault = item["image_failure"]
    if fault:
        summary.missing[fault["kind"]] += 1
    else:
        summary.images += 1


class _Lines:
    """items.jsonl, written in any order: lines wait in a file, 16 bytes each in memory."""

    def __init__(self, folder: Path, count: int) -> None:
        self.written = 0
        self._path = folder / ITEMS
        self._waiting_path = folder / f"{ITEMS}.waiting"
        self._where = np.zeros((count, 2), np.int64)  # start, length
        self._waiting: IO[bytes]

    def __enter__(self) -> _Lines:
        self._waiting = self._waiting_path.open("w+b")
        return self

    def write(self, rank: int, line: str) -> None:
        data = line.encode()
        self._where[rank] = self._waiting.tell(), len(data)
        self._waiting.write(data)
        self.written += 1

    def __exit__(self, *error: object) -> None:
        with self._waiting as waiting:
            if error[0] is None:
                with self._path.open("wb") as file:
                    for start, length in self._where.tolist():
                        waiting.seek(start)
                        file.write(waiting.read(length))
        self._waiting_path.unlink()


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A directory to fill, which becomes `out` if nothing is raised. ConfigError if it is taken."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is there already", "name another directory, or remove this one")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with output_errors(out):
            partial.mkdir(parents=True)
            yield partial
            partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
