"""A flow is checked when it is built, not when it runs."""

from __future__ import annotations

import pyarrow as pa
import pytest
from doubles.counting_reader import CountingReader, ReaderConfig

from actors.contract import Pool, Settings
from actors.failures import FAILURE
from pipelines.errors import SchemaMismatch
from pipelines.flow import Flow, step

SOURCE = pa.schema([("row_id", pa.int64()), ("uri", pa.string())])


class Factor(Settings):
    by: int = 2


@step(reads=pa.schema([("length", pa.int32())]), writes=pa.schema([("scaled", pa.int64())]))
def scale(rows: pa.Table, config: Factor) -> pa.Table:
    values = [n * config.by for n in rows["length"].to_pylist()]
    return rows.append_column("scaled", pa.array(values, pa.int64()))


def reader() -> tuple[type[CountingReader], ReaderConfig, Pool]:
    return CountingReader, ReaderConfig(), Pool()


def test_columns_accumulate_in_order_and_drops_leave() -> None:
    flow = Flow(SOURCE).through(*reader()).map(scale, Factor()).drop("uri", "length")
    assert flow.schema.names == ["row_id", "read_failure", "scaled"]


def test_a_column_that_nobody_writes_is_named_with_its_type() -> None:
    with pytest.raises(SchemaMismatch, match="CountingReader reads uri: string, which no earlier"):
        Flow(pa.schema([("row_id", pa.int64())])).through(*reader())


def test_a_column_of_another_type_is_named_with_both_types() -> None:
    source = pa.schema([("row_id", pa.int64()), ("uri", pa.int8())])
    with pytest.raises(SchemaMismatch, match=r"reads uri: string, .* writes it as int8"):
        Flow(source).through(*reader())


def test_columns_are_never_overwritten() -> None:
    with pytest.raises(SchemaMismatch, match="writes length, but an earlier stage does too"):
        Flow(SOURCE).through(*reader()).through(*reader())


def test_dropping_what_is_not_there_lists_what_is() -> None:
    with pytest.raises(SchemaMismatch, match=r"drop\('image'\).*row_id, uri, length"):
        Flow(SOURCE).through(*reader()).drop("image")


def test_a_renamed_column_leaves_its_name_to_a_later_stage() -> None:
    flow = Flow(SOURCE).through(*reader()).rename(length="first", read_failure="first_failure")
    assert flow.schema.names == ["row_id", "uri", "first", "first_failure"]
    again = flow.through(*reader())
    assert again.schema.names[2:] == ["first", "first_failure", "length", "read_failure"]
    out = again.run_here(pa.table({"row_id": [1], "uri": ["abc"]}, SOURCE))
    assert out.schema.equals(again.schema)
    assert out["first"].to_pylist() == out["length"].to_pylist() == [3]
    assert ("  rename", "length, read_failure", "first, first_failure", "same worker") in [
        *again.explain()
    ]


def test_renaming_is_checked() -> None:
    flow = Flow(SOURCE).through(*reader())
    with pytest.raises(SchemaMismatch, match=r"rename\('image'\).*row_id, uri, length"):
        flow.rename(image="picture")
    with pytest.raises(SchemaMismatch, match="has this name already: uri"):
        flow.rename(length="uri")


def test_a_dropped_column_cannot_be_read_later() -> None:
    with pytest.raises(SchemaMismatch, match="scale reads length"):
        Flow(SOURCE).through(*reader()).drop("length").map(scale, Factor())


def test_run_here_gives_what_the_schema_promises() -> None:
    flow = Flow(SOURCE).through(*reader()).map(scale, Factor(by=3)).drop("uri")
    rows = pa.table({"row_id": [1, 2], "uri": ["ab", "abcd"]}, schema=SOURCE)
    out = flow.run_here(rows)
    assert out.schema.equals(flow.schema)
    assert out["scaled"].to_pylist() == [6, 12]


def test_explain_shows_riders_below_their_stage() -> None:
    flow = Flow(SOURCE).through(*reader()).map(scale, Factor()).drop("uri")
    assert [line[0] for line in flow.explain()] == ["counting_reader", "  scale", "  drop"]


class Second(CountingReader):
    """Another model, with columns of its own."""

    writes = pa.schema([("depth", pa.int32()), ("dive_failure", FAILURE)])
    failure_column = "dive_failure"


def test_a_model_without_a_pool_rides_in_the_workers_of_the_stage_before() -> None:
    pool = Pool(batch_size=3, num_cpus=2)
    flow = Flow(SOURCE).through(CountingReader, ReaderConfig(), pool).map(scale, Factor())
    flow = flow.through(Second, ReaderConfig(), None)
    (crew,) = flow.crews()
    assert [(stage.name, stage.pool) for stage in crew] == [
        ("counting_reader", pool),
        ("second", pool),
    ]
    assert [where for *_, where in flow.explain()] == [
        "1 x 2 CPU, batches of 3",
        "same worker",
        "same worker",
    ]


def test_models_with_pools_have_workers_of_their_own() -> None:
    flow = Flow(SOURCE).through(*reader()).through(Second, ReaderConfig(), Pool())
    assert [len(crew) for crew in flow.crews()] == [1, 1]


def test_the_first_model_needs_a_pool() -> None:
    with pytest.raises(
        SchemaMismatch, match="CountingReader is the first stage and needs its own pool"
    ):
        Flow(SOURCE).through(CountingReader, ReaderConfig(), None)
