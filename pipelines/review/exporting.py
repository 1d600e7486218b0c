"""Export the review queue of a run as a folder of items and images."""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from actors.failures import FailureKind, failure
from pipelines.decisions.finished import AnyRow
from pipelines.errors import ConfigError
from pipelines.review.importing import reviewed_ids
from pipelines.review.items import (
    COLUMNS,
    DRAWN,
    IMAGES,
    ITEMS,
    README,
    ItemValue,
    as_json,
    item_of,
    kept_labels,
)
from pipelines.review.queue import Queue, queued, queued_rows
from pipelines.runs.directory import RunDir
from pipelines.runs.pictures import PNG
from pipelines.runs.refetch import RefetchedPage, Refetcher
from pipelines.storage.output_errors import output_errors

#: Pages in memory at once: 32 pages of A4 at 200 dpi take about 20 MB as files.
_PAGES = 32


_HOW_TO = """\
{items} has one item per line; the items with the largest expected gain come first.

Set "verdict" of each item that you have checked:

"accept"   The result is true. Pages: readings[0] is the true text; if another reading is, copy it \
into "text". Images: all "instances" are true; "drawn" is the picture with their boxes and ids.
"correct"  Pages: write the true "text". Images: edit "instances": delete labels, change their \
class or box, move labels here from "candidates", add new ones.
"reject"   The item is unusable as truth.

Leave "verdict": null on all other items. You can import, go on, and import again: the last import \
of a row counts. "note" is for your remarks.

To import: nightjar review import {run} {out} [--reviewer NAME]
"""

OnItems = Callable[[int, int], None]  #: (items done, total)


@dataclass
class ReviewExport:
    """Counts of an export.

    Attributes:
        items: lines of items.jsonl.
        images: items with a picture.
        missing: failure kind -> items without a picture.
        beyond: items left out because of the limit.
        reviewed: rows left out because they have an answer.
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
    """Write the review queue into the directory `out`, completely or not at all.

    Reads the shards twice: first the keys of all waiting rows (24 bytes a row), then the chosen
    rows. These come in stored order, so that each document is fetched once; the lines are sorted
    at the end. Pages are fetched again as in the run. A page that can no longer be fetched gets
    ``image: null`` and ``image_failure``.

    Args:
        run: of either job; its shards are only read.
        out: must not exist, or be empty.
        limit: most items; those with the largest gain are kept (`pipelines.review.gain`).
        failed: also rows with outcome `failed`.
        again: also rows that have an answer.
        on_items: called after every batch.

    Raises:
        ConfigError: `out` is not empty, or the run's config is not valid in this version.
        RunNotFound, OutputUnwritable.
    """
    done = np.empty(0, np.int64) if again else reviewed_ids(run)
    queue = queued(run, {"review", "failed"} if failed else {"review"}, done, limit)
    summary = ReviewExport(items=len(queue), beyond=queue.beyond, reviewed=queue.skipped)
    with _whole(out) as folder:
        (folder / IMAGES).mkdir()
        (folder / README).write_text(_HOW_TO.format(items=ITEMS, run=run.path, out=out))
        _write_items(run, queue, folder, summary, on_items)
    return summary


def _write_items(
    run: RunDir, queue: Queue, folder: Path, summary: ReviewExport, on_items: OnItems
) -> None:
    job = run.read_record()["job"]
    with _Lines(folder, len(queue)) as lines:
        for place, item in _items(run, job, queue, folder):
            lines.write(int(queue.rank[place]), as_json(item) + "\n")
            _count(summary, item)
            if lines.written % _PAGES == 0 or lines.written == len(queue):
                on_items(lines.written, len(queue))


def _items(run: RunDir, job: str, queue: Queue, folder: Path) -> Iterator[tuple[int, ItemValue]]:
    """(index in the queue's arrays, item) in stored order; also writes the pictures."""
    if not len(queue):
        return
    refetch = Refetcher(run)
    with ThreadPoolExecutor(os.cpu_count()) as savers:  # Pillow's codecs release the GIL
        for table in queued_rows(run, queue, COLUMNS):
            places = queue.places(table["row_id"].to_numpy())
            for start in range(0, table.num_rows, _PAGES):
                rows: list[AnyRow] = table.slice(start, _PAGES).to_pylist()
                pages = refetch(rows)
                list(savers.map(partial(_save, folder), rows, pages))
                chosen = places[start : start + _PAGES].tolist()
                for place, row, fetched in zip(chosen, rows, pages, strict=True):
                    yield place, item_of(row, job, float(queue.gain[place]), fetched)


def _save(folder: Path, row: AnyRow, fetched: RefetchedPage) -> None:
    """Write the picture, and with its boxes if it is of labels. Or set `fetch_failure`."""
    path = folder / IMAGES / f"{row['row_id']}.png"
    _save_picture(fetched, path)
    if "instances" in row and path.exists():
        from pipelines.review.overlay_labels import overlay_labels  # supervision takes 1 s

        with Image.open(path) as image:
            labels = kept_labels(row["instances"] or [])
            drawn = overlay_labels(image.convert("RGB"), labels, outlines=False, numbers=True)
        (folder / DRAWN).mkdir(exist_ok=True)
        drawn.save(folder / DRAWN / f"{row['row_id']}.jpg", quality=90)


def _save_picture(fetched: RefetchedPage, path: Path) -> None:
    """Write the picture as PNG, or set `fetch_failure` of `fetched`.

    zlib level 1 takes 67 ms for 807 x 1390 pixels. Pillow's default of 6 takes 234 ms and saves
    4 %.
    """
    data = fetched["image"]
    if data is None:
        return
    if data.startswith(PNG):
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
    """items.jsonl, written in any order: lines wait in a file and need 16 bytes each in memory."""

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
    """A directory that is renamed to `out` on success. ConfigError if `out` is not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists already", "name another directory, or remove this one")
    unfinished = out.with_name(f".{out.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with output_errors(out):
            unfinished.mkdir(parents=True)
            yield unfinished
            unfinished.replace(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
