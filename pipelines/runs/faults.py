"""The failures in a shard, as its writer reports them to the driver."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Examples for each kind of failure in a column of a shard.
_EXAMPLES = 3
_SUFFIX = "_failure"


@dataclass(frozen=True)
class Faults:
    """The failures in one `*_failure` column of a shard.

    Attributes:
        at: kind -> positions of its rows in the shard, ascending, int64 (n,).
        examples: kind -> up to three (uri, message).
    """

    at: dict[str, np.ndarray] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def faults(rows: pa.Table) -> dict[str, Faults]:
    """Failure column -> its faults. `rows`: finished rows, in the order of the shard."""
    names = [name for name in rows.column_names if name.endswith(_SUFFIX)]
    return {name: _of_column(rows, name) for name in names}


def without(rows: pa.Table, column: str, kind: str) -> pa.Table:
    """`rows` without those that have this failure."""
    found = pc.struct_field(rows[column], "kind")
    return rows.filter(pc.fill_null(pc.not_equal(found, kind), True))


def _of_column(rows: pa.Table, column: str) -> Faults:
    kinds = np.array(pc.struct_field(rows[column], "kind").to_pylist(), dtype=object)
    at = {kind: np.flatnonzero(kinds == kind) for kind in {*kinds} - {None}}
    examples = {kind: _examples(rows.take(some[:_EXAMPLES]), column) for kind, some in at.items()}
    return Faults(at, examples)


def _examples(rows: pa.Table, column: str) -> list[tuple[str, str]]:
    uris = rows["uri"].to_pylist()
    messages = pc.struct_field(rows[column], "message").to_pylist()
    return [(uri, message or "") for uri, message in zip(uris, messages, strict=True)]
