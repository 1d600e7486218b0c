"""The columns that the report counts, as numpy arrays of a batch of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.decisions.triage import Reason
from pipelines.runs.shards import failure_columns
from pipelines.storage.damage import NamedParquet

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Columns to read. Masks and texts, most of the data, are not read.
_ROW = ("row_id", "outcome", "reasons", "text_source")
_PARTS = {
    "instances": ("list.element.class", "list.element.score", "list.element.reasons"),
    "lines": ("list.element.score",),
    "evidence": ("mean_score", "expected_cer"),
}


@dataclass(frozen=True)
class Coded:
    """Encoded values. `rows`: (m,) index of each row; `codes`: (m,) indices into `names`."""

    rows: Ints
    codes: Ints
    names: list[str]


@dataclass(frozen=True)
class Labels(Coded):
    """One value per label, (m,) each; `names` are the classes. An unknown score is NaN."""

    scores: Floats
    candidate: Bools
    doubtful: Bools


@dataclass(frozen=True)
class Lines:
    """One value per text line, (m,) each."""

    rows: Ints
    scores: Floats


@dataclass(frozen=True)
class View:
    """Columns of n rows; None for columns that the shard lacks."""

    row_ids: Ints
    outcomes: Coded
    reasons: Coded
    failures: Coded
    sources: Coded | None
    labels: Labels | None
    lines: Lines | None
    mean_scores: Floats | None
    expected_cer: Floats | None


def columns_of(file: NamedParquet) -> list[str]:
    """Dotted names of the columns that `view` reads and the shard has."""
    schema = file.schema_arrow
    names = [name for name in _ROW if name in schema.names]
    names += [f"{name}.kind" for name in failure_columns(schema)]
    for column, parts in _PARTS.items():
        if column in schema.names:
            names += [f"{column}.{part}" for part in parts]
    return names


def view(batch: pa.RecordBatch) -> View:
    """Convert a batch with the columns of `columns_of`."""
    names = set(batch.schema.names)
    outcomes = _coded(batch["outcome"])
    return View(
        row_ids=batch["row_id"].to_numpy(zero_copy_only=False),
        outcomes=outcomes,
        reasons=_plain(_coded(pc.list_flatten(batch["reasons"]), batch["reasons"])),
        failures=_failures(batch),
        sources=_known(batch["text_source"]) if "text_source" in names else None,
        labels=_labels(batch["instances"]) if "instances" in names else None,
        lines=_lines(batch["lines"]) if "lines" in names else None,
        mean_scores=_evidence(batch, "mean_score"),
        expected_cer=_evidence(batch, "expected_cer"),
    )


def bare(reason: str) -> str:
    """The name of a reason written as ``name=value``."""
    return reason.partition("=")[0]


def _coded(values: pa.Array, lists: pa.Array | None = None) -> Coded:
    encoded = values.fill_null("(none)").dictionary_encode()
    rows = np.arange(len(values)) if lists is None else _parents(lists)
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Coded(rows, codes, encoded.dictionary.to_pylist())


def _known(values: pa.Array) -> Coded:
    """Encoded values without nulls."""
    there = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
    found = _coded(values.drop_null())
    return Coded(there, found.codes, found.names)


def _plain(reasons: Coded) -> Coded:
    """Merge the reasons `name=value` into `name`."""
    names = list(dict.fromkeys(map(bare, reasons.names)))
    to = np.array([names.index(bare(name)) for name in reasons.names], np.int64)
    return Coded(reasons.rows, to[reasons.codes] if len(to) else reasons.codes, names)


def _failures(batch: pa.RecordBatch) -> Coded:
    """Failures of all stages. The same kind from two stages counts twice, as in `nightjar show`."""
    parts = [_known(pc.struct_field(batch[name], "kind")) for name in failure_columns(batch.schema)]
    names = list(dict.fromkeys(name for part in parts for name in part.names))
    rows = [np.empty(0, np.int64)]
    codes = [np.empty(0, np.int64)]
    for part in parts:
        to = np.array([names.index(name) for name in part.names], np.int64)
        rows.append(part.rows)
        codes.append(to[part.codes] if len(to) else part.codes)
    return Coded(np.concatenate(rows), np.concatenate(codes), names)


def _labels(instances: pa.Array) -> Labels:
    flat = pc.list_flatten(instances)
    classes = _coded(pc.struct_field(flat, "class"), instances)
    reasons = pc.struct_field(flat, "reasons")
    below = np.zeros(len(flat), bool)
    said = pc.equal(pc.list_flatten(reasons), Reason.BELOW_THRESHOLD.value)
    below[_parents(reasons)[said.fill_null(False).to_numpy(zero_copy_only=False)]] = True
    any_reason = pc.fill_null(pc.list_value_length(reasons), 0).to_numpy(zero_copy_only=False) > 0
    scores = _floats(pc.struct_field(flat, "score"))
    return Labels(classes.rows, classes.codes, classes.names, scores, below, any_reason & ~below)


def _lines(lines: pa.Array) -> Lines:
    flat = pc.list_flatten(lines)
    return Lines(_parents(lines), _floats(pc.struct_field(flat, "score")))


def _evidence(batch: pa.RecordBatch, name: str) -> Floats | None:
    """One value per row; NaN if it is missing."""
    if "evidence" not in batch.schema.names:
        return None
    column = batch["evidence"]
    if column.type.get_field_index(name) < 0:
        return None
    return _floats(pc.struct_field(column, name))


def _parents(lists: pa.Array) -> Ints:
    found: Ints = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _floats(values: pa.Array) -> Floats:
    """Null becomes NaN."""
    found: Floats = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found
