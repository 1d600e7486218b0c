"""The short form of `make chaos`: a few faults, one night each, and checks of the suite itself."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chaos.campaign import markdown, summary, totals
from chaos.fault import Fault
from chaos.faults_of_data import HangingPage, PoisonPage
from chaos.faults_of_processes import ActorKilled, NodeKilled
from chaos.night import ChaosNight, Outcome, Reader, one_night


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


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_night_of_poison_a_page_that_hangs_and_a_killed_worker(tmp_path: Path) -> None:
    """The quick tests have each alone: test_waves.py, test_sandbox.py, test_kill.py."""
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
    run = tmp_path / "run"
    night = ChaosNight(Fault(tmp_path, 3), {})
    shard(run / "manifest", "part-00000.parquet", [1, 2, 3])
    shard(run / "shards", "a.parquet", [1, 2])
    shard(run / "shards", "b.parquet", [2])
    assert night.listed() - night.written() == {3: 1}
    assert night.written() - night.listed() == {2: 1}
    assert night.progress() == 3
    with Reader(night.files) as reader:
        (run / "shards" / "c.parquet").write_bytes(b"PAR1 and no more")
        while not reader.partial:
            pass
    assert "c.parquet" in reader.partial[0]


def kept(outcome: Outcome) -> dict[str, Any]:
    """A night as the results file has it."""
    return asdict(outcome) | {"held": outcome.held, "date": "2026-11-30", "commit": "abc"}


def test_the_table_says_which_fault_was_not_withstood_and_adds_up() -> None:
    calm = Outcome(Fault.name, 0, listed=9, seconds=60.0, told=True)
    good = Outcome("a", 0, struck=2, listed=9, seconds=90.0, told=True)
    lost = Outcome("b", 0, struck=1, listed=9, lost=1, seconds=60.0, told=True)
    silent = Outcome("c", 0, struck=1, listed=9, seconds=60.0, failed=4)
    poison = Outcome(PoisonPage.name, 0, struck=1, listed=9, failed=1, told=True)
    nights = [kept(one) for one in (calm, good, lost, silent, poison)]
    rows = {row["fault"]: row for row in summary(nights)}
    assert [rows[name]["held"] for name in ("none", "a", "b", "c")] == [True, True, False, False]
    assert rows["a"]["minutes_lost"] == 0.5
    assert rows["b"]["lost"] == 1
    assert (rows["c"]["failed"], rows[PoisonPage.name]["failed"]) == (4, 0)
    assert totals([*rows.values()]) == {
        "nights": 5, "injected": 5, "rows": 45, "lost": 1, "twice": 0, "partial": 0, "failed": 4,
    }  # fmt: skip
    page = markdown([*rows.values()], nights)
    assert "| b | 1 | 9 | 1 | 0 | 0 | 0 | 0.0 | BROKEN |" in page
    assert "| **sum** | 5 | 45 | 1 | 0 | 0 | 4 |" in page
