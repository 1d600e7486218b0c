"""Build or update a FiftyOne dataset from a run.

RUN/shards --curate--> dataset: one sample per row, keyed by row id --the app--> edits, tags, texts
RUN/reviewed/review-*.parquet <--pull (pipelines.curation.pull)---------------------+

The shards are never changed. A sample that a person has changed is never overwritten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.curation.changes import is_touched
from pipelines.curation.dataset import fiftyone, note_run, open_dataset, save_views
from pipelines.curation.media import Media, MediaMode, MediaStore
from pipelines.curation.samples import (
    COLUMNS,
    key_of,
    mask_bytes,
    media_values,
    own_tags,
    row_digest,
    sample_values,
)
from pipelines.decisions.routing import PageOutcome as PageOutcome
from pipelines.decisions.triage import ImageOutcome as ImageOutcome
from pipelines.errors import ConfigError
from pipelines.review.queue import gain_function, is_labelled
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import open_shard
from pipelines.storage.paths import RunPath

#: Rows in memory as Arrow: a full shard by default, sorted so that each document is read once.
_ROWS = 2048
#: Rows in memory as samples with masks and pictures, and rows of one write to the database.
_BATCH = 128
#: Bytes of masks in memory before samples are written. FiftyOne holds up to three copies of each.
_MASK_BYTES = 64 << 20

OnRows = Callable[[int, int], None]  #: (rows done, total)


@dataclass
class Curated:
    """Counts of one `curate`.

    Attributes:
        name: of the dataset.
        rows: rows of the run with the chosen outcomes.
        new: added samples.
        changed: samples updated from the run, or with a new path of their picture or run.
        unchanged: samples that are up to date.
        kept: samples that differ from the run, but were changed by a person.
        missing: failure kind -> rows without a picture.
    """

    name: str
    rows: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    kept: int = 0
    missing: Counter[str] = field(default_factory=Counter)


def curate(
    run: RunDir,
    name: str | None = None,
    *,
    outcomes: Collection[str] = (),
    media: MediaMode = "local",
    on_rows: OnRows = lambda done, total: None,
) -> Curated:
    """Build the dataset or update it. No row is added twice.

    Rows are streamed: 2,048 as Arrow, 128 as samples. After an interruption the same call
    continues.

    Args:
        run: of either job; of a working run the committed rows are taken.
        name: of the dataset; default: the name of the run's directory.
        outcomes: of the rows to take; empty: all.
        media: see `pipelines.curation.media.MediaStore`.
        on_rows: called after every batch.

    Raises:
        ConfigError: no FiftyOne, an unknown outcome, or the dataset is not for this job.
        RunNotFound, OutputUnwritable.
    """
    record = run.read_record()
    labelled = is_labelled(_first_shard(run))
    wanted = _checked(outcomes, labelled)
    summary = Curated(name or run.path.resolve().name, rows=_count(run, wanted))
    gain_of = gain_function(record["config"], labelled)
    fo = fiftyone()
    dataset = open_dataset(fo, summary.name, record["job"], _classes(record["config"]))
    note_run(dataset, run)
    writer = _Writer(fo, dataset, run, gain_of, MediaStore(run, media), summary)
    done = 0
    for rows in _batches(run, wanted):
        writer.take(rows)
        done += len(rows)
        on_rows(done, summary.rows)
    save_views(fo, dataset)
    return summary


def _first_shard(run: RunDir) -> RunPath:
    files = run.shard_files()
    if not files:
        raise ConfigError(f"{run.path} has no finished rows yet", "call nightjar run CONFIG first")
    return files[0]


def _classes(config: dict[str, Any]) -> list[str]:
    """The classes of a run's ontology; none for a run of pages."""
    return list(config.get("detector", {}).get("ontology", {}).get("classes", ()))


def _checked(outcomes: Collection[str], labelled: bool) -> list[str]:
    there = [outcome.value for outcome in (ImageOutcome if labelled else PageOutcome)]
    for outcome in outcomes:
        if outcome not in there:
            raise ConfigError(f"no outcome {outcome!r}", f"choose from: {', '.join(there)}")
    return list(outcomes) or there


def _count(run: RunDir, outcomes: Sequence[str]) -> int:
    wanted = pa.array(outcomes, pa.string())
    columns = [open_shard(path).read(columns=["outcome"]) for path in run.shard_files()]
    return sum(pc.sum(pc.is_in(table["outcome"], wanted)).as_py() or 0 for table in columns)


def _batches(run: RunDir, outcomes: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Rows with those of `COLUMNS` that the run has; the pages of a document are adjacent."""
    wanted = pa.array(outcomes, pa.string())
    for path in run.shard_files():
        file = open_shard(path)
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(_ROWS, columns=columns):
            rows = pa.Table.from_batches([batch]).filter(pc.is_in(batch["outcome"], wanted))
            rows = rows.sort_by([("uri", "ascending"), ("page", "ascending")])
            for start in range(0, rows.num_rows, _BATCH):
                yield rows.slice(start, _BATCH).to_pylist()


class _Before(NamedTuple):
    """State of a sample in the dataset: digest of its row, path of its picture, its run."""

    digest: str
    path: str
    run: str


class _Writer:
    """Updates samples, a batch of rows at a time."""

    def __init__(
        self,
        fo: Any,
        dataset: Any,
        run: RunDir,
        gain_of: Callable[[dict[str, Any]], float],
        media: MediaStore,
        summary: Curated,
    ) -> None:
        self._fo = fo
        self._dataset = dataset
        self._run = str(run.path.resolve())
        self._gain_of = gain_of
        self._media = media
        self._summary = summary
        self._new: list[dict[str, Any]] = []
        self._changed: list[dict[str, Any]] = []
        self._moved: dict[str, dict[str, Any]] = {}  # row id -> new paths
        self._gone: dict[str, bool] = {}  # run -> does its directory no longer exist?

    def take(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write a batch: one query for known samples, one write of new ones, one of changed ones.

        Large masks (one byte per pixel here) are written in several parts.
        """
        known = self._known([key_of(row["row_id"]) for row in rows])
        room = _MASK_BYTES
        for row, media in zip(rows, self._media(rows), strict=True):
            if media.failure:
                self._summary.missing[media.failure.split()[0]] += 1
            gain, before = self._gain_of(row), known.get(key_of(row["row_id"]))
            digest = row_digest(row, gain)
            if before and before.digest == digest:
                self._stay(row, media, before)
                continue
            values = sample_values(self._fo, row, gain, media)
            values |= {"run": self._run, "row_digest": digest}
            (self._changed if before else self._new).append(values)
            room -= mask_bytes(values)
            if room < 0:
                self._write()
                room = _MASK_BYTES
        self._write()

    def _known(self, keys: list[str]) -> dict[str, _Before]:
        there = self._dataset.select_by("row_id", keys)
        names = ["row_id", "row_digest", "filepath", "run"]
        return {key: _Before(*told) for key, *told in zip(*there.values(names), strict=True)}

    def _stay(self, row: dict[str, Any], media: Media, before: _Before) -> None:
        """Keep an unchanged row, but update the path of its picture or of a moved run."""
        values = {}
        if before.path != media.path:
            values = media_values(self._fo, row, media)
        if before.run != self._run and self._is_gone(before.run):
            values["run"] = self._run
        if values:
            self._moved[key_of(row["row_id"])] = values
            self._summary.changed += 1
        else:
            self._summary.unchanged += 1

    def _is_gone(self, run: str) -> bool:
        if run not in self._gone:
            self._gone[run] = not RunDir(run).record.exists()
        return self._gone[run]

    def _write(self) -> None:
        self._add(self._new)
        self._update({values["row_id"]: values for values in self._changed})
        self._move(self._moved)
        self._new, self._changed, self._moved = [], [], {}

    def _add(self, new: Sequence[dict[str, Any]]) -> None:
        samples = [self._fo.Sample(**values) for values in new]
        self._dataset.add_samples(samples, batcher=False, progress=False)
        self._summary.new += len(samples)

    def _update(self, changed: dict[str, dict[str, Any]]) -> None:
        if not changed:
            return
        samples = self._dataset.select_by("row_id", list(changed))
        for sample in samples.iter_samples(autosave=True, batch_size=_BATCH):
            if is_touched(sample, "instances" in changed[sample["row_id"]]):
                self._summary.kept += 1
                continue
            self._summary.changed += 1
            values = changed[sample["row_id"]]
            before = own_tags({"outcome": sample["outcome"], "reasons": sample["reasons"]})
            theirs = [tag for tag in sample["tags"] if tag not in before]
            values["tags"] = [*values["tags"], *theirs]
            for name, value in values.items():
                sample[name] = value

    def _move(self, moved: dict[str, dict[str, Any]]) -> None:
        if not moved:
            return
        samples = self._dataset.select_by("row_id", list(moved))
        for sample in samples.iter_samples(autosave=True, batch_size=_BATCH):
            for name, value in moved[sample["row_id"]].items():
                sample[name] = value
