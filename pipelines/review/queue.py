"""The rows of a run that wait for review, in order of expected gain."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.ontology import Ontology
from pipelines.config_files import validated
from pipelines.decisions.finished import FinishedImage, FinishedPage
from pipelines.decisions.triage import TriageConfig
from pipelines.errors import ConfigError
from pipelines.review.gain import image_gain, page_gain
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import open_shard
from pipelines.storage.paths import RunPath

Ids = npt.NDArray[np.int64]

#: Columns that the gain needs. Masks are not read: they are most of a shard.
_KEYS = ("row_id", "outcome", "reasons", "fetch_failure", "evidence")
_LABEL_KEYS = tuple(f"instances.list.element.{name}" for name in ("class", "score", "reasons"))

#: Rows in memory as Arrow: a full shard by default (`SinkConfig.rows_per_shard`), 20 MB for pages.
_ROWS = 2048


@dataclass(frozen=True)
class Queue:
    """The waiting rows, 24 bytes each.

    Attributes:
        row_ids: (n,), ascending.
        rank: (n,), position in the queue, from 0: largest gain first, then by row id.
        gain: (n,), see `pipelines.review.gain`.
        beyond: waiting rows left out because of the limit.
        skipped: waiting rows left out because they were to be skipped.
    """

    row_ids: Ids
    rank: Ids
    gain: npt.NDArray[np.float64]
    beyond: int
    skipped: int

    def __len__(self) -> int:
        return len(self.row_ids)

    def places(self, row_ids: Ids) -> Ids:
        """Index of each of `row_ids` in the queue's `row_ids`; -1 if it is not in the queue."""
        if not len(self):
            return np.full(len(row_ids), -1, np.int64)
        at = np.minimum(np.searchsorted(self.row_ids, row_ids), len(self) - 1)
        return np.where(self.row_ids[at] == row_ids, at, -1)


def is_labelled(path: RunPath) -> bool:
    """True for a shard of images with labels, False for pages with text.

    Raises ConfigError for a shard of another job.
    """
    names = open_shard(path).schema_arrow.names
    if not {"instances", "evidence"} & set(names):
        raise ConfigError(
            f"{path} has neither labels nor texts",
            "review and curate work with runs of autolabel and ocr_backfill",
        )
    return "instances" in names


def queued(run: RunDir, outcomes: Collection[str], skip: Ids, limit: int | None) -> Queue:
    """The rows of these outcomes except `skip`, largest gain first, at most `limit`."""
    files = run.shard_files()
    gain_of = gain_function(run.read_record()["config"], bool(files) and is_labelled(files[0]))
    ids: list[Ids] = [np.empty(0, np.int64)]
    gains: list[npt.NDArray[np.float64]] = [np.empty(0, np.float64)]
    skipped = 0
    for path in files:
        for batch in open_shard(path).iter_batches(_ROWS, columns=[*_KEYS, *_LABEL_KEYS]):
            batch = batch.filter(pc.is_in(batch["outcome"], pa.array(sorted(outcomes))))
            again = np.isin(batch["row_id"].to_numpy(), skip)
            skipped += int(again.sum())
            batch = batch.filter(pa.array(~again))
            ids.append(batch["row_id"].to_numpy())
            gains.append(np.array([gain_of(row) for row in batch.to_pylist()], np.float64))
    return _ranked(np.concatenate(ids), np.concatenate(gains), limit, skipped)


def gain_function(config: dict[str, Any], labelled: bool) -> Callable[[Any], float]:
    """The function row -> gain of a run (`pipelines.review.gain`).

    Args:
        config: of the run, as in its record.
        labelled: True for images with labels, False for pages with text.

    The function takes a FinishedImage or a FinishedPage and reads `reasons`, `fetch_failure` and
    `instances` or `evidence`. Raises ConfigError.
    """
    if not labelled:
        return _gain_of_page
    ontology = validated(Ontology, config["detector"]["ontology"], "run.json, ontology")
    rules = validated(TriageConfig, config["triage"], "run.json, triage")

    def gain_of_image(row: FinishedImage) -> float:
        labels, reasons, fault = row["instances"], row["reasons"], row["fetch_failure"]
        return image_gain(labels, reasons, fault, ontology, rules)

    return gain_of_image


def _gain_of_page(row: FinishedPage) -> float:
    return page_gain(row["evidence"], row["reasons"], row["fetch_failure"])


def _ranked(ids: Ids, gains: npt.NDArray[np.float64], limit: int | None, skipped: int) -> Queue:
    order = np.lexsort((ids, -gains))[:limit]
    rank = np.argsort(ids[order])  # the row order[r] has rank r
    chosen = order[rank]
    return Queue(ids[chosen], rank, gains[chosen], len(ids) - len(order), skipped)


def queued_rows(run: RunDir, queue: Queue, columns: Collection[str]) -> Iterator[pa.Table]:
    """The rows of `queue` in tables of at most 2,048 rows, each sorted by uri and page.

    Shards are sorted by row id, a hash. Sorted by uri, the pages of a document are adjacent and
    the document is read once. Columns that a shard lacks are left out.
    """
    for path in run.shard_files():
        file = open_shard(path)
        ids = file.read(columns=["row_id"])["row_id"].to_numpy()
        if not (queue.places(ids) >= 0).any():
            continue
        present = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(_ROWS, columns=present):
            wanted = pa.array(queue.places(batch["row_id"].to_numpy()) >= 0)
            rows = pa.Table.from_batches([batch]).filter(wanted)
            if rows.num_rows:
                yield rows.sort_by([("uri", "ascending"), ("page", "ascending")])
