"""Runs that fail too much are stopped, and rows that the environment failed are not committed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_config

from actors.failures import FAILURE
from jobs.commands.runs import NO_LIMITS
from pipelines.config import Limits
from pipelines.engine.breaker import Breaker
from pipelines.engine.committer import Committer
from pipelines.engine.progress import Committed
from pipelines.errors import TooManyFailures
from pipelines.job import load_job
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import SinkConfig, stage_shard, totals

STORE, BROKEN = "STORAGE_ERROR", "CORRUPT_PDF"


class Shards:
    """Commits shards of made-up rows, one after the other."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.run = RunDir(folder / "run")
        self.run.create()
        done = Committed()
        self.committer = Committer(
            self.run,
            "p",
            np.arange(10_000, dtype=np.int64),
            SinkConfig(),
            done,
            Breaker(limits or Limits(), done),
        )
        self.next = 0

    def commit(self, kinds: Sequence[str | None], **columns: Sequence[Any]) -> None:
        """One row for each kind of failure; None: a good row."""
        ids = np.arange(self.next, self.next + len(kinds), dtype=np.int64)
        self.next += len(kinds)
        values = [{"kind": k, "message": f"Traceback\n{k}!"} if k else None for k in kinds]
        rows = pa.table(
            {
                "row_id": ids,
                "uri": [f"s3://b/{i}.pdf" for i in ids],
                "outcome": ["failed" if k else "ocr" for k in kinds],
                "reasons": pa.array([[]] * len(kinds), pa.list_(pa.string())),
                "fetch_failure": pa.array(values, FAILURE),
                **columns,
            }
        )
        self.committer.commit(stage_shard(self.run, "p", [rows], SinkConfig()))

    def written(self) -> dict[int, str | None]:
        """row_id -> kind of failure, of all committed rows."""
        rows = [row for f in self.run.shard_files() for row in pq.read_table(f).to_pylist()]
        return {r["row_id"]: (r["fetch_failure"] or {}).get("kind") for r in rows}


def test_rows_of_the_last_shard_that_a_gone_store_failed_stay_open(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    shards.commit([None, STORE, BROKEN] * 16)
    with pytest.raises(TooManyFailures, match=r"50 of the last 200 rows failed with STO") as caught:
        shards.commit([None, STORE, STORE, BROKEN] * 20)
    assert "s3://b/49.pdf: STORAGE_ERROR!" in caught.value.message, "with examples"
    assert caught.value.message.count("s3://b/") == 3
    assert "--retry-failed STORAGE_ERROR" in caught.value.remedy
    assert "--accept-failures" in caught.value.remedy
    assert caught.value.exit_code == 10
    written = shards.written()
    first = {i: [None, STORE, BROKEN][i % 3] for i in range(48)}
    last = {48 + i: [None, STORE, STORE, BROKEN][i % 4] for i in range(80)}
    assert written == first | {i: kind for i, kind in last.items() if kind != STORE}
    assert totals(shards.run).failures == {STORE: 16, BROKEN: 16 + 20}


def test_a_shard_without_another_row_is_not_committed(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    with pytest.raises(TooManyFailures):
        shards.commit([STORE] * 64)
    assert shards.written() == {}
    assert not list((tmp_path / "run" / "rejects").iterdir())


def test_failures_that_are_far_apart_do_not_stop_a_run(tmp_path: Path) -> None:
    """One in five, and 49 in a row."""
    shards = Shards(tmp_path)
    for _ in range(8):
        shards.commit([STORE, None, None, None, None] * 20)
    shards.commit([None] * 200)
    shards.commit([STORE] * 49)
    assert len(shards.written()) == 1049


def test_a_window_reaches_over_shards(tmp_path: Path) -> None:
    shards = Shards(tmp_path, Limits(same_failure={"rows": 6, "within": 10}))
    shards.commit([None] * 20 + [STORE] * 3)
    shards.commit([None] * 4 + [STORE] * 2)
    with pytest.raises(TooManyFailures, match="6 of the last 10 rows"):
        shards.commit([STORE] + [None] * 20)
    assert len(shards.written()) == 29 + 20


def test_bad_files_stop_a_run_after_500_rows_and_are_committed(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    shards.commit([BROKEN] * 300)
    shards.commit([None] * 199)
    with pytest.raises(
        TooManyFailures, match=r"301 of 500 rows failed \(60%; the limit is 20%"
    ) as e:
        shards.commit([STORE])
    assert "CORRUPT_PDF 300, STORAGE_ERROR 1" in e.value.message
    assert len(shards.written()) == 500


def test_a_share_at_the_limit_is_accepted(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    shards.commit([BROKEN, None, None, None, None] * 200)
    assert len(shards.written()) == 1000


def test_a_fallback_that_does_not_answer_stops_no_run(tmp_path: Path) -> None:
    """The pages keep their first reading."""
    shards = Shards(tmp_path)
    gone = {"kind": "VLM_UNREACHABLE", "message": "no connection"}
    shards.commit([None] * 600, vlm_failure=pa.array([gone] * 600, FAILURE))
    assert len(shards.written()) == 600


@pytest.mark.parametrize("kinds", [[STORE] * 600, [BROKEN] * 600])
def test_accepted_failures_do_not_stop_a_run(tmp_path: Path, kinds: list[str]) -> None:
    _, config = load_job(write_config(tmp_path, tmp_path), NO_LIMITS)
    shards = Shards(tmp_path, config.limits)
    shards.commit(kinds)
    assert len(shards.written()) == 600
