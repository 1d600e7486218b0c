"""The adapter around a model: no exception, exit or crash of the model loses a row."""

from __future__ import annotations

import pyarrow as pa
import pytest
from doubles.cannot_go_on import CannotGoOn
from doubles.cannot_start import CannotStart
from doubles.counting_reader import CountingReader, ReaderConfig
from doubles.exits_on_one_row import ExitsOnOneRow
from doubles.loses_a_row import LosesARow
from doubles.raises_on_one_row import RaisesOnOneRow

from actors.contract import Pool
from actors.failures import SetupError
from pipelines.engine.workers.scoreboard import Board
from pipelines.engine.workers.worker import StageWorker
from pipelines.errors import WorkerUnfit
from pipelines.flow import Stage

pytestmark = pytest.mark.usefixtures("frozen_heap")

ROWS = pa.table({"row_id": list(range(16)), "uri": [f"file-{i}" for i in range(16)]})


def work(model: type[CountingReader], rows: pa.Table, board: Board, poison: int = -1) -> pa.Table:
    return StageWorker(Stage(model, ReaderConfig(poison_row=poison), Pool()), board)(rows)


def failures(out: pa.Table) -> dict[int, str]:
    both = zip(out["row_id"].to_pylist(), out["read_failure"].to_pylist(), strict=True)
    return {row: failure["kind"] for row, failure in both if failure}


def test_a_healthy_batch_passes_and_is_counted() -> None:
    board = Board()
    out = work(CountingReader, ROWS, board)
    assert out["length"].to_pylist() == [len(u) for u in ROWS["uri"].to_pylist()]
    score = board.snapshot()["counting_reader"]
    assert (score.rows, score.batches, dict(score.failures)) == (16, 1, {})
    assert score.seconds["read"] > 0


@pytest.mark.parametrize("poison", [0, 7, 15])
def test_an_unknown_exception_quarantines_its_row_alone(poison: int) -> None:
    board = Board()
    out = work(RaisesOnOneRow, ROWS, board, poison)
    assert out["row_id"].to_pylist() == list(range(16))
    assert failures(out) == {poison: "ENGINE_FAULT"}
    assert out["length"].null_count == 1
    assert "ZeroDivisionError" in out["read_failure"].to_pylist()[poison]["message"]
    assert board.snapshot()["raises_on_one_row"].failures == {"ENGINE_FAULT": 1}


def test_sys_exit_in_a_model_is_an_exception_like_any_other() -> None:
    assert failures(work(ExitsOnOneRow, ROWS, Board(), 3)) == {3: "ENGINE_FAULT"}


def test_a_model_that_loses_rows_is_caught_and_no_row_is_lost() -> None:
    out = work(LosesARow, ROWS, Board())
    assert out["row_id"].to_pylist() == list(range(16))
    assert failures(out) == {}, "one by one it keeps its contract"


def test_rows_in_hand_at_a_death_are_tried_alone_and_the_killer_is_quarantined() -> None:
    board, stage = Board(), "counting_reader"
    board.begin(stage, list(range(16)))  # the first worker died here: no end
    board.begin(stage, list(range(16)))  # so did the second, with row 7 ...
    for row in range(7):
        board.begin(stage, [row])
        board.release(stage, [row])
    board.release(stage, list(range(8, 16)))
    board.begin(stage, [7])  # ... alone in hand
    board.begin(stage, list(range(16)))
    board.release(stage, [row for row in range(16) if row != 7])
    board.begin(stage, [7])
    out = work(CountingReader, ROWS, board)
    assert failures(out) == {7: "ENGINE_CRASH"}
    assert out["length"].null_count == 1


def test_one_death_of_a_batch_quarantines_nobody() -> None:
    board = Board()
    board.begin("counting_reader", list(range(16)))
    out = work(CountingReader, ROWS, board)
    assert failures(out) == {}
    assert board.snapshot()["counting_reader"].deaths == 1


def test_finished_rows_leave_no_trace_on_the_board() -> None:
    board = Board()
    board.begin("counting_reader", list(range(16)))
    work(CountingReader, ROWS, board)
    assert board.begin("counting_reader", list(range(16))) == {}


def test_a_model_that_cannot_go_on_stops_the_run_and_fails_no_row() -> None:
    board = Board()
    with pytest.raises(WorkerUnfit, match="cannot_go_on: the renderer's process") as caught:
        work(CannotGoOn, ROWS, board, 3)
    assert caught.value.remedy == "free space in /tmp"
    assert board.setup()["stops"] == [caught.value]
    assert board.snapshot()["cannot_go_on"].failures == {}


def test_a_model_that_cannot_start_tells_the_driver_why() -> None:
    board = Board()
    with pytest.raises(SetupError):
        work(CannotStart, ROWS, board)
    assert board.setup()["errors"] == [
        ("cannot_start", "no weights at /models/none", "download them first")
    ]
