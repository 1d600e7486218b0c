"""Slices of the evaluated rows by a column: of the run, of a table joined by uri, or derived.

Each value of a column is a slice. A column with more than `MOST_VALUES` different numbers is cut at
its quartiles. In other columns the less frequent values share one slice. A list, such as `reasons`,
puts a row into several slices.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipelines.errors import ConfigError
from pipelines.measures.intervals import Interval, Ints
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import open_shard

#: A slice with fewer images or pages is small: one of them moves the figure by 3 %.
SMALL = 30
#: Most values of a column with slices of their own.
MOST_VALUES = 20
NONE = "(none)"

#: Upper ends, in pixels: thumbnails, screens, phone cameras, scans at 300 dpi.
_SIZES = (
    (500_000, "under 0.5 MP"),
    (2_000_000, "0.5 to 2 MP"),
    (8_000_000, "2 to 8 MP"),
)


@dataclass(frozen=True)
class Slice:
    """Some of the rows. `members`: their indices, ascending."""

    column: str
    value: str
    members: Ints

    @property
    def small(self) -> bool:
        """Whether the slice has fewer than `SMALL` rows."""
        return len(self.members) < SMALL


def known_interval(figure: Interval | None, files: int) -> Interval | None:
    """The figure; with fewer than two files its ends are NaN (null in JSON): all draws are equal.

    A bootstrap of few files is too narrow as well; `Slice.small` marks such figures.
    """
    if figure is None or files > 1:
        return figure
    return Interval(value=figure.value, low=math.nan, high=math.nan)


def _size_of(row: Mapping[str, Any]) -> str:
    width, height = row["width"], row["height"]
    if not width or not height:
        return NONE
    return next((name for most, name in _SIZES if width * height < most), "above 8 MP")


def _folder_of(row: Mapping[str, Any]) -> str:
    return str(PurePosixPath(row["uri"]).parent)


#: Derived columns, which no run has: the columns that they need, and a function.
WORKED_OUT: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], str]]] = {
    "image_size": (("width", "height"), _size_of),
    "folder": (("uri",), _folder_of),
}


class Slicing:
    """The slices by some columns: call `add` with each row, in order, then `slices`."""

    def __init__(self, run: RunDir, names: Sequence[str], metadata: Path | None = None) -> None:
        """Find the columns: in `metadata` first, then among the derived ones, then in the run.

        Args:
            run: with finished rows.
            names: names of columns; `evidence.lines` is a field of a struct.
            metadata: CSV or Parquet with a column `uri`, and `page` if files have several pages.

        Raises ConfigError for an unknown column; it lists the known ones.
        """
        self._names = tuple(dict.fromkeys(names))
        self._metadata = metadata
        there = schema_of(run)
        joined = _header(metadata) if metadata else ()
        self._joined = tuple(name for name in self._names if name in joined)
        for name in self._names:
            if name not in joined and name not in WORKED_OUT and _leaf(there, name) is None:
                raise _unknown(name, there, joined)
        #: columns of the run to read
        self.columns = frozenset(
            column
            for name in self._names
            if name not in joined
            for column in (WORKED_OUT[name][0] if name in WORKED_OUT else (name.split(".")[0],))
        )
        self._values: dict[str, list[tuple[Any, ...]]] = {
            name: [] for name in self._names if name not in joined
        }
        self._keys: list[tuple[str, int]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take the next row: a dict of at least `columns`, uri and page."""
        self._keys.append((row["uri"], row.get("page") or 1))
        for name, column in self._values.items():
            worked_out = WORKED_OUT.get(name)
            column.append(_as_values(worked_out[1](row) if worked_out else _within(row, name)))

    def slices(self) -> list[Slice]:
        """All slices, in the order of the columns; the largest first, numbers ascending."""
        if self._metadata and self._joined:
            self._values |= joined_values(self._metadata, self._joined, self._keys)
        return [one for name in self._names for one in parts_of(name, self._values[name])]


def schema_of(run: RunDir) -> pa.Schema:
    """The columns of a run. Raises ConfigError if it has no finished rows."""
    files = run.shard_files()
    if not files:
        raise ConfigError(f"{run.path} holds no finished row", "run it first: nightjar run CONFIG")
    return open_shard(files[0]).schema_arrow


def _leaf(schema: pa.Schema, name: str) -> pa.DataType | None:
    """The type of a column or of a field of a struct; None: it cannot be sliced by."""
    first, *rest = name.split(".")
    if first not in schema.names:
        return None
    kind = schema.field(first).type
    for part in rest:
        if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
            return None
        kind = kind.field(part).type
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return None if pa.types.is_nested(inner) or pa.types.is_binary(inner) else kind


def _unknown(name: str, schema: pa.Schema, joined: Sequence[str]) -> ConfigError:
    known = [*joined, *WORKED_OUT, *(one for one in schema.names if _leaf(schema, one) is not None)]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(
        f"no column {name!r} to slice by",
        f"{hint}the columns are {', '.join(known)}, and fields of structs, as in evidence.lines",
    )


def _within(row: Mapping[str, Any], name: str) -> Any:
    value: Any = row
    for part in name.split("."):
        value = None if value is None else value[part]
    return value


def _as_values(value: Any) -> tuple[Any, ...]:
    if isinstance(value, list):
        return tuple(dict.fromkeys(value)) or (None,)
    return (None,) if isinstance(value, float) and math.isnan(value) else (value,)


def _header(path: Path) -> tuple[str, ...]:
    try:
        if path.suffix.lower() == ".parquet":
            names = tuple(pq.read_schema(path).names)
        else:
            names = tuple(pacsv.open_csv(path).schema.names)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"cannot read metadata {path}: {error}", "give a CSV with a header line, or Parquet"
        ) from None
    if "uri" not in names:
        raise ConfigError(
            f"{path} has no column uri; it has {', '.join(names)}",
            "rename the column with the URIs of the run to uri",
        )
    return names


def joined_values(
    path: Path, names: Sequence[str], keys: Sequence[tuple[str, int]]
) -> dict[str, list[tuple[Any, ...]]]:
    """The values of a table for each (uri, page); other rows of the table are ignored.

    Raises ConfigError if no uri matches, or if two rows of one page have different values.
    """
    wanted, found = {uri for uri, _ in keys}, dict[tuple[str, int | None], tuple[Any, ...]]()
    paged = "page" in _header(path)
    for batch in _batches(path, ["uri", *names, *(["page"] if paged else [])]):
        for row in batch.to_pylist():
            if row["uri"] not in wanted:
                continue
            key = row["uri"], int(row["page"]) if paged and row["page"] is not None else None
            values = tuple(row[name] for name in names)
            if found.setdefault(key, values) != values:
                raise ConfigError(
                    f"{path} has two rows with different values for {row['uri']}",
                    "keep one row for each page",
                )
    if not found:
        raise ConfigError(
            f"no uri of {path} is in the run, which has {keys[0][0] if keys else 'none'}",
            "the column uri must hold whole URIs, as the run writes them",
        )
    unknown = (None,) * len(names)
    rows = [found.get((uri, page), found.get((uri, None), unknown)) for uri, page in keys]
    return {name: [_as_values(row[place]) for row in rows] for place, name in enumerate(names)}


def _batches(path: Path, names: Sequence[str]) -> Any:
    if path.suffix.lower() == ".parquet":
        return pq.ParquetFile(path).iter_batches(columns=list(names))
    # Read as text: a type guessed from the first block can be wrong for the next.
    convert = pacsv.ConvertOptions(
        include_columns=list(names),
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
    )
    return pacsv.open_csv(path, convert_options=convert)


def parts_of(column: str, values: Sequence[tuple[Any, ...]]) -> list[Slice]:
    """The slices of one column. `values`: the values of each row."""
    distinct = {one for row in values for one in row if one is not None}
    numbers = _as_numbers(distinct) if len(distinct) > MOST_VALUES else None
    if numbers:
        all_of_them = [numbers[one] for row in values for one in row if one is not None]
        shown, order = _quartiles(numbers, all_of_them)
    else:
        shown = {one: _shown(one) for one in distinct}
        counts = Counter(shown[one] for row in values for one in row if one is not None)
        order = [name for name, _ in counts.most_common(MOST_VALUES)]
        if len(counts) > MOST_VALUES:
            others = f"({len(counts) - MOST_VALUES} others)"
            shown = {one: name if name in order else others for one, name in shown.items()}
            order.append(others)
    members: dict[str, list[int]] = {name: [] for name in [*order, NONE]}
    for place, row in enumerate(values):
        for name in {NONE if one is None else shown[one] for one in row}:
            members[name].append(place)
    return [
        Slice(column, name, np.array(places, np.int64))
        for name, places in members.items()
        if places
    ]


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _as_numbers(values: set[Any]) -> dict[Any, float] | None:
    try:
        found = {one: float(one) for one in values}
    except (TypeError, ValueError):
        return None
    return found if all(map(math.isfinite, found.values())) else None


def _quartiles(
    numbers: Mapping[Any, float], all_of_them: Sequence[float]
) -> tuple[dict[Any, str], list[str]]:
    """Value -> name of its quarter of the rows, and the names in order."""
    edges = np.quantile(all_of_them, (0, 0.25, 0.5, 0.75, 1))
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    at = {one: int(np.searchsorted(edges[1:-1], value, "left")) for one, value in numbers.items()}
    return {one: names[place] for one, place in at.items()}, list(dict.fromkeys(names))
