"""Several readers in one flow: each reads only its own rows.

Each worker masks the rows of other readers. A filter and a union of Ray Data would be simpler, but
Ray Data 2.60 then ran the stages before the filter twice without a warning.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from actors.contract import Actor, Settings

#: The reader of a row; null: none.
READER = pa.field("reader", pa.string())


def prefixed(name: str, column: str) -> str:
    """The name of `column` of the reader `name` until the readings are joined."""
    return f"{name}.{column}"


def only(name: str, reader: type[Actor[Any]]) -> type[Actor[Any]]:
    """`reader` for the rows with `name` in the column `reader`; all other rows get nulls.

    Its columns have `prefixed` names, because several readers write to the same rows.
    """
    members = {
        "__doc__": f"{reader.__name__} for the rows whose reader is {name}.",
        "reads": pa.schema([READER, *reader.reads]),
        "reader_name": name,
    }
    return type(reader.__name__, (_Only,), members | _renamed(name, reader))


def first(name: str, reader: type[Actor[Any]]) -> type[Actor[Any]]:
    """`reader` for all rows, with `prefixed` names: its reading decides who reads a row again."""
    members = {"__doc__": f"{reader.__name__} for all rows.", "reads": reader.reads}
    return type(reader.__name__, (_First,), members | _renamed(name, reader))


def _renamed(name: str, reader: type[Actor[Any]]) -> dict[str, Any]:
    """Members of a class that writes the columns of `reader` under `prefixed` names."""
    return {
        "writes": pa.schema([(prefixed(name, one.name), one.type) for one in reader.writes]),
        "failure_column": prefixed(name, reader.failure_column),
        "repeatable": reader.repeatable,
        "reader": reader,
    }


class _Renaming(Actor[Settings]):
    reader: ClassVar[type[Actor[Any]]]

    def __init__(self, config: Settings) -> None:
        super().__init__(config)
        self._reader = self.reader(config)
        self.seconds = self._reader.seconds

    def provenance(self) -> dict[str, str]:
        return self._reader.provenance()


class _First(_Renaming):
    def __call__(self, rows: pa.Table) -> pa.Table:
        read = self._reader(rows)
        for column, own in zip(self.writes, self.reader.writes, strict=True):
            rows = rows.append_column(column, read[own.name])
        return rows


class _Only(_Renaming):
    reader_name: ClassVar[str]

    def __call__(self, rows: pa.Table) -> pa.Table:
        mine = np.array([one == self.reader_name for one in rows[READER.name].to_pylist()], bool)
        if not mine.any():
            for column in self.writes:
                rows = rows.append_column(column, pa.nulls(rows.num_rows, column.type))
            return rows
        own_rows = rows.filter(pa.array(mine))
        read = self._reader(own_rows)
        if not read["row_id"].equals(own_rows["row_id"]):
            raise ValueError(f"{self.reader.__name__} lost, added or reordered rows")
        # Row i of the batch is row places[i] of `read`; null for rows of other readers.
        places = pa.array(np.cumsum(mine) - 1, pa.int64(), mask=~mine)
        for column, own in zip(self.writes, self.reader.writes, strict=True):
            rows = rows.append_column(column, read[own.name].combine_chunks().take(places))
        return rows
