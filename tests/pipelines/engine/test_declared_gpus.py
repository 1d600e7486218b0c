"""Pools on GPUs that Ray is told of: which workers start, what they see, and that rows flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from doubles.sees_gpus import Fetches, Finds, OnDevice, Outlines, Seconds
from doubles.tiny_job import ROW, tiny_rows
from growing_cluster import growing_cluster

from actors.contract import Pool
from pipelines.config import RayConfig
from pipelines.engine import cluster, stream
from pipelines.engine.sizes import pools
from pipelines.engine.sizes.room import Room
from pipelines.flow import Flow

BATCH = 4


def three_stages(num_gpus: float | str, seconds: float, **together: Any) -> Flow:
    """As in labelling: a fetch stage, and two models that take the same time."""
    model = OnDevice(a_row=seconds, **together)
    few = {"num_cpus": 0.1, "batch_size": BATCH}
    models = Pool.model_validate(few | {"num_gpus": num_gpus, "max_size": None})
    return (
        Flow(ROW)
        .through(Fetches, Seconds(), Pool.model_validate(few))
        .through(Finds, model, models)
        .through(Outlines, model, models)
    )


@dataclass
class Streamed:
    """The rows that came out, by column."""

    rows: list[dict[str, Any]]

    def processes(self, column: str) -> int:
        return len({row[column]["process"] for row in self.rows})

    def gpus(self, column: str) -> set[str]:
        return {row[column]["gpus"] for row in self.rows}

    def at(self, column: str) -> list[float]:
        return sorted(row[column]["at"] for row in self.rows)


def streamed(flow: Flow, rows: int) -> Streamed:
    out = [
        ray.get(block)
        for bundle in stream.stream(flow, tiny_rows(rows), stream.start_board())
        for block in bundle.block_refs
    ]
    got = pa.concat_tables(out).to_pylist()
    assert sorted(row["row_id"] for row in got) == list(range(rows))
    return Streamed(got)


@contextmanager
def declared(gpus: int) -> Iterator[None]:
    with cluster.cluster(RayConfig(num_cpus=4, num_gpus=gpus, object_store_mb=100)):
        yield


def check_flow(out: Streamed) -> None:
    assert out.at("outlined")[0] < out.at("found")[-1], "rows leave while input lasts"


def test_two_pools_of_models_share_a_gpu_and_rows_flow_through_both(tmp_path: Path) -> None:
    """More rows than a batch for each worker; the second pool once never started."""
    check_all_gpus(1, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("gpus", [2, 8])
def test_two_pools_of_models_stand_on_all_gpus_and_rows_flow_through_both(
    gpus: int, tmp_path: Path
) -> None:
    """More rows than a batch for each worker."""
    check_all_gpus(gpus, tmp_path)


def check_all_gpus(gpus: int, tmp_path: Path) -> None:
    batches = 6 * gpus
    with declared(gpus):
        stages = three_stages("auto", 0.05, folder=str(tmp_path), processes=2 * gpus)
        flow = pools.sized(stages, RayConfig(), batches * BATCH)
        fetch, *models = [stage.pool for stage in flow.stages]
        assert [(pool.min_size, pool.num_gpus) for pool in models] == [(gpus, 0.5)] * 2
        out = streamed(flow, batches * BATCH)
    assert fetch.gpus == 0
    assert out.gpus("fetched") == {""}, "a pool that asks for no GPU sees none"
    # Ray fills one GPU before the next: the two workers of one pool may stand on one GPU.
    assert out.gpus("found") | out.gpus("outlined") == {str(gpu) for gpu in range(gpus)}
    assert (out.processes("found"), out.processes("outlined")) == (gpus, gpus)
    check_flow(out)


@pytest.mark.long
def test_on_a_joined_cluster_ray_starts_with_one_worker_of_each_and_adds_more() -> None:
    """The first pool is not allowed to take all GPUs: Ray reserves some for the second."""
    with declared(4):
        flow = pools.fitted(three_stages(0.5, 0.2), Room(4, 4, grows=True), 400)
        assert [stage.pool.min_size for stage in flow.stages] == [1, 1, 1]
        out = streamed(flow, 400)
    check_flow(out)
    assert out.processes("found") > 1
    assert out.processes("outlined") > 1


@pytest.mark.long
def test_a_cluster_that_has_no_gpu_yet_adds_the_nodes_that_both_models_need() -> None:
    """It begins as a head without CPUs; up to two nodes with a GPU come on demand."""
    with growing_cluster({"CPU": 2, "GPU": 1}, most=2) as address:
        joined = RayConfig(address=address, num_gpus=2)
        with cluster.cluster(joined):
            assert "GPU" not in ray.cluster_resources()
            flow = pools.sized(three_stages("auto", 0.2), joined, 400)
            assert [stage.pool.min_size for stage in flow.stages] == [1, 1, 1]
            out = streamed(flow, 400)
            assert 1 <= ray.cluster_resources()["GPU"] <= 2
    check_flow(out)
    assert out.gpus("fetched") == {""}
    assert out.gpus("found") == out.gpus("outlined") == {"0"}, "each node's own first GPU"
