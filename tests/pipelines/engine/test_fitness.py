"""A worker whose device is spoiled is replaced; its rows are read elsewhere, none is lost or twice.

A process is a `StageWorker` here. What Ray does with a process that ends itself: `test_waves.py`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from doubles.counting_reader import CountingReader, ReaderConfig
from doubles.sees_gpus import OnDevice
from doubles.spoils_its_device import (
    KillsItsContext,
    RaisesFromARow,
    ReadsNothing,
    SpoiledOnce,
    SpoilsBesideABrokenFile,
    SpoilsItsDevice,
)
from doubles.tiny_job import tiny_rows

from actors.contract import Pool
from pipelines.engine.workers.device import is_dead, share_memory
from pipelines.engine.workers.fitness import FRUITLESS_LIMIT, WorkerSpent
from pipelines.engine.workers.scoreboard import Board
from pipelines.engine.workers.worker import StageWorker
from pipelines.errors import WorkerUnfit
from pipelines.flow import Stage

pytestmark = pytest.mark.usefixtures("frozen_heap")

ROWS = 64
SIZES = pytest.mark.parametrize("size", [1, 16])


class Night:
    """Batches through one worker at a time; a spent one is replaced, as Ray does it."""

    def __init__(self, model: type[CountingReader], size: int, **config: Any) -> None:
        self.board = Board()
        self.processes = 0
        self.out: list[dict[str, Any]] = []
        self._stage = Stage(model, ReaderConfig(**config), Pool(batch_size=size))
        self._size = size

    def run(self, rows: int = ROWS) -> dict[int, str]:
        """Row -> kind of its failure."""
        worker, batches = self._worker(), tiny_rows(rows)
        for start in range(0, rows, self._size):
            batch = batches.slice(start, self._size)
            while (out := self._answer(worker, batch)) is None:
                worker = self._worker()
            self.out += out.to_pylist()
        assert Counter(row["row_id"] for row in self.out) == Counter(range(rows))
        return {r["row_id"]: r["read_failure"]["kind"] for r in self.out if r["read_failure"]}

    def _worker(self) -> StageWorker:
        self.processes += 1
        assert self.processes < 20, "processes are replaced for ever"
        return StageWorker(self._stage, self.board)

    def _answer(self, worker: StageWorker, batch: pa.Table) -> pa.Table | None:
        try:
            return worker(batch)
        except WorkerSpent:
            return None


@SIZES
@pytest.mark.parametrize("poison", [0, 21, 63])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        (SpoilsItsDevice, "CUDNN_STATUS_EXECUTION_FAILED"),
        (KillsItsContext, "AcceleratorError: CUDA error: device-side assert"),
    ],
)
def test_a_row_that_spoils_every_device_fails_alone(
    model: type[SpoilsItsDevice], said: str, size: int, poison: int
) -> None:
    night = Night(model, size, poison_row=poison)
    assert night.run() == {poison: "ENGINE_FAULT"}
    (lost,) = (row for row in night.out if row["read_failure"])
    assert said in lost["read_failure"]["message"]
    assert night.processes == (3 if size == 1 else 4), "in its batch, alone, alone again"
    (score,) = night.board.snapshot().values()
    assert score.recycled == night.processes - 1
    assert (score.deaths, score.rows) == (0, ROWS)


def test_a_dead_context_is_asked_for_no_other_row() -> None:
    """Its batch is not halved, and no row that was readable is read again."""
    KillsItsContext.met.clear()
    night = Night(KillsItsContext, 16, poison_row=21)
    night.run(32)
    one_by_one = range(16, 22)  # each new process first reads the known row 0
    assert KillsItsContext.met == [
        *range(22),
        *(0, *one_by_one),
        *(0, *one_by_one),
        *(0, *range(16, 21), *range(22, 32)),
    ]


@pytest.mark.parametrize(
    ("error", "dead"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA failure 719: unspecified launch failure ; GPU=0"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
        (ValueError("a page of 0 pixels"), False),
    ],
)
def test_a_dead_context_is_known_by_its_words(error: Exception, dead: bool) -> None:
    assert is_dead(error) is dead


def test_without_a_gpu_no_memory_is_divided() -> None:
    share_memory([Stage(CountingReader, OnDevice(), Pool(num_gpus=0.5))])
    share_memory([Stage(CountingReader, ReaderConfig(), Pool())])
    assert not torch.cuda.is_initialized()


@SIZES
def test_a_broken_file_does_not_hide_a_spoiled_device(size: int) -> None:
    """Row 30 spoils the device, row 31 ends the batch as a broken file."""
    night = Night(SpoilsBesideABrokenFile, size, poison_row=30)
    assert night.run() == {30: "ENGINE_FAULT", 31: "CORRUPT_IMAGE"}


@SIZES
def test_a_device_that_is_spoiled_once_costs_no_row(size: int, tmp_path: Path) -> None:
    night = Night(SpoiledOnce, size, poison_row=21, flag_dir=str(tmp_path))
    assert night.run() == {}
    assert night.processes == 2


@SIZES
@pytest.mark.parametrize("poison", [0, 20])
def test_if_new_workers_read_nothing_either_the_run_stops(size: int, poison: int) -> None:
    class Gone(ReadsNothing):
        """With a flag of its own."""

    night = Night(Gone, size, poison_row=poison)
    with pytest.raises(WorkerUnfit, match="new workers in a row failed on everything") as caught:
        night.run()
    assert "no kernel image is available" in caught.value.message
    assert "start the same command again" in caught.value.remedy
    assert night.board.setup()["stops"] == [caught.value]
    failed = [row["row_id"] for row in night.out if row["read_failure"]]
    # One row alone, and nothing was ever read: it is taken for the cause, the second one is not.
    assert failed == ([0] if (size, poison) == (1, 0) else [])
    assert night.processes <= 2 * FRUITLESS_LIMIT


@SIZES
def test_rows_that_the_model_cannot_read_cost_no_worker(size: int) -> None:
    night = Night(RaisesFromARow, size, poison_row=20)
    assert night.run() == dict.fromkeys(range(20, ROWS), "ENGINE_FAULT")
    assert night.processes == 1


def test_a_source_of_one_bad_row_ends_with_a_named_failure() -> None:
    assert Night(RaisesFromARow, 16, poison_row=0).run(1) == {0: "ENGINE_FAULT"}


def test_a_model_behind_a_network_is_not_asked_twice() -> None:
    class Paid(RaisesFromARow):
        repeatable = False

    night = Night(Paid, 16, poison_row=0)
    assert len(night.run()) == ROWS
    assert night.processes == 1
