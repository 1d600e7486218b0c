"""A reader gets only its own rows."""

from __future__ import annotations

import pyarrow as pa
import pytest
from doubles.counting_reader import CountingReader, ReaderConfig
from doubles.loses_a_row import LosesARow

from actors.own_rows import only


class Boxed(CountingReader):
    """Writes lists, as readers of pages do."""

    writes = pa.schema(
        [*CountingReader.writes, ("lines", pa.list_(pa.struct([("n", pa.int32())])))]
    )

    def __call__(self, rows: pa.Table) -> pa.Table:
        out = super().__call__(rows)
        lines = [[{"n": i}] * i for i in range(rows.num_rows)]
        return out.append_column("lines", pa.array(lines, self.writes.field("lines").type))


def rows(readers: list[str | None]) -> pa.Table:
    uris = ["x" * (i + 1) for i in range(len(readers))]
    ids = pa.array(range(len(readers)), pa.int64())
    columns = {"row_id": ids, "uri": pa.array(uris, pa.string())}
    return pa.table({**columns, "reader": pa.array(readers, pa.string())})


def test_its_own_rows_are_read_and_the_rest_gets_nulls_in_their_places() -> None:
    actor = only("a", Boxed)(ReaderConfig())
    out = actor(rows(["a", "b", None, "a", "a"]))
    assert out.schema.names[-3:] == ["a.length", "a.read_failure", "a.lines"]
    assert out["a.length"].to_pylist() == [1, None, None, 4, 5]
    counted = [None if one is None else len(one) for one in out["a.lines"].to_pylist()]
    assert counted == [0, None, None, 1, 2], "rows that pass by are not counted by the reader"
    assert out["row_id"].to_pylist() == [0, 1, 2, 3, 4]


def test_a_batch_without_its_rows_does_not_reach_the_reader() -> None:
    class Untouchable(CountingReader):
        def meet(self, row: int) -> None:
            raise AssertionError(row)

    actor = only("a", Untouchable)(ReaderConfig())
    out = actor(rows(["b", None]))
    assert out.schema.equals(pa.schema([*rows([]).schema, *actor.writes]))
    assert out["a.length"].null_count == 2
    with pytest.raises(AssertionError):
        actor(rows(["a"]))


def test_a_reader_that_loses_rows_is_found_out() -> None:
    with pytest.raises(ValueError, match="LosesARow lost"):
        only("a", LosesARow)(ReaderConfig())(rows(["a", "a", "b"]))


def test_two_readers_stand_beside_each_other_and_keep_their_names() -> None:
    first, second = only("a", CountingReader), only("b", Boxed)
    assert (first.__name__, second.__name__) == ("CountingReader", "Boxed")
    out = second(ReaderConfig())(first(ReaderConfig())(rows(["a", "b"])))
    assert out["a.length"].to_pylist() == [1, None]
    assert out["b.length"].to_pylist() == [None, 2]


def test_the_time_of_the_reader_is_the_time_of_the_stage() -> None:
    actor = only("a", CountingReader)(ReaderConfig())
    actor(rows(["a"]))
    assert actor.seconds["read"] > 0
    actor.seconds.clear()
    actor(rows(["a"]))
    assert set(actor.seconds) == {"read"}
