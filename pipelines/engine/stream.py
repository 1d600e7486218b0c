"""Streams rows through a Flow with Ray Data. No other module builds Ray datasets.

`concurrency=` and `ray_remote_args` of `map_batches` are gone in Ray 2.64, so `compute=` and
`num_cpus=` are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy

from pipelines.engine.environments import runtime_env
from pipelines.engine.metrics import BatchMetrics, Meter
from pipelines.engine.workers.scoreboard import Board
from pipelines.engine.workers.scoreboard_link import RayBoardLink
from pipelines.engine.workers.worker import CrewWorker
from pipelines.flow import Flow

#: Tasks per worker: one runs, and the rows of the next one are already loaded.
_TASKS_IN_FLIGHT = 2


def start_board(run: str = "") -> Any:
    """Start the scoreboard actor. Ray restarts it after a crash; its counts are then lost.

    `run`: the metrics' label; "": no metrics are published.
    """
    board = ray.remote(Board).options(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    return board.remote(BatchMetrics(Meter(run)) if run else None)


def stream(flow: Flow, rows: pa.Table, board: Any) -> Iterator[Any]:
    """Ray's ref bundles with the finished rows, in any order. `rows`: manifest rows to process.

    Blocks are made here, one for each batch of the first stage. `read_parquet` is slower: its 32
    actors that read footers take 37 s on two cores (3 to 7 s with one actor). The dataset has no
    filter and no union: together they executed the stages above them twice.
    """
    size = flow.stages[0].pool.batch_size
    blocks = [rows.slice(i, size).combine_chunks() for i in range(0, rows.num_rows, size)]
    # `from_arrow` starts a task for each block to count its rows: 2 s of imports in two processes
    # before the run starts, and 11 s for the 6,250 blocks of 100,000 rows.
    dataset: ray.data.Dataset = ray.data.from_blocks(blocks)
    for crew in flow.crews():
        pool = crew[0].pool
        dataset = dataset.map_batches(
            CrewWorker,
            fn_constructor_args=(crew, RayBoardLink(board)),
            batch_size=pool.batch_size,
            batch_format="pyarrow",
            zero_copy_batch=True,
            udf_modifying_row_count=False,
            compute=ActorPoolStrategy(
                min_size=pool.min_size,
                max_size=pool.max_size,
                max_tasks_in_flight_per_actor=pool.concurrency * _TASKS_IN_FLIGHT,
                max_concurrent_calls_per_actor=pool.concurrency,
                enable_true_multi_threading=pool.concurrency > 1,
            ),
            num_cpus=pool.num_cpus,
            num_gpus=pool.gpus,
            runtime_env=runtime_env(pool),
        )
    return dataset.iter_internal_ref_bundles()
