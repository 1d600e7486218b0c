"""The short form of `make chaos`: a few faults, one night each, and checks of the suite itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chaos_faults import ActorKilled, Fault, HangingPage, NodeKilled, PoisonPage
from chaos_nights import Outcome, Reader, one_night, summary
from nights import Night


class LongNight(PoisonPage, HangingPage):
    """A page that kills its process, one that hangs, and one worker killed from outside."""

    name, strikes = "three at once", 1
    strike = ActorKilled.strike

    def changes(self) -> dict[str, Any]:
        """In two waves, the worker dies in either."""
        return super().changes() | {"ray": {"object_store_mb": 200, "rows_per_wave": 40}}

    def told(self, record) -> bool:
        failures = record["totals"]["failures"]
        return failures == {"ENGINE_CRASH": 1, "RENDER_TIMEOUT": 1} and record["codes"] == [0]


@pytest.mark.timeout(600)
def test_a_night_of_poison_a_page_that_hangs_and_a_killed_worker(tmp_path: Path) -> None:
    outcome = one_night(LongNight, tmp_path, seed=3, pages=60)
    assert outcome.held, outcome
    assert (outcome.listed, outcome.struck) == (63, 1)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_cluster_that_loses_a_node_finishes_the_run(tmp_path: Path) -> None:
    outcome = one_night(NodeKilled, tmp_path, seed=0, pages=120)
    assert outcome.held, outcome
    assert outcome.struck == 1


def shard(folder: Path, name: str, ids: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"row_id": ids}), folder / name)


def test_lost_doubled_and_partial_rows_are_noticed(tmp_path: Path) -> None:
    night = Night(tmp_path, lambda folder, source, pages: folder / "none", 3)
    shard(night.run / "manifest", "part-00000.parquet", [1, 2, 3])
    shard(night.run / "shards", "a.parquet", [1, 2])
    shard(night.run / "shards", "b.parquet", [2])
    assert night.listed() - night.written_ids() == {3: 1}
    assert night.written_ids() - night.listed() == {2: 1}
    with Reader(night.run) as reader:
        (night.run / "shards" / "c.parquet").write_bytes(b"PAR1 and no more")
        while not reader.partial:
            pass
    assert "c.parquet" in reader.partial[0]


def test_the_table_says_which_fault_was_not_withstood() -> None:
    calm = Outcome(Fault.name, 0, listed=9, seconds=60.0, told=True)
    good = Outcome("a", 0, struck=2, listed=9, seconds=90.0, told=True)
    lost = Outcome("b", 0, struck=1, listed=9, lost=1, seconds=60.0, told=True)
    silent = Outcome("c", 0, struck=1, listed=9, seconds=60.0, told=False)
    rows = {row["fault"]: row for row in summary([calm, good, lost, silent])}
    assert [rows[name]["held"] for name in ("none", "a", "b", "c")] == [True, True, False, False]
    assert rows["a"]["minutes_lost"] == 0.5
    assert rows["b"]["lost"] == 1
