"""What the pools of a flow ask for on machines of every size. No Ray: `fitted` is a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contract import Pool
from pipelines.config import JobConfig, RayConfig
from pipelines.engine.environments import runtime_env
from pipelines.engine.sizes.gpus import left
from pipelines.engine.sizes.pools import divided, fitted, measured
from pipelines.engine.sizes.room import Room, of_machine
from pipelines.errors import ClusterUnreachable, ConfigError, DeviceUnavailable
from pipelines.flow import Flow
from pipelines.job import load_job

CONFIGS = Path(__file__).parents[3] / "configs"
ALL = sorted(CONFIGS.glob("*/*.yaml"))
MACHINES = [Room(2, 0), Room(4, 1), Room(16, 1), Room(16, 2), Room(32, 4), Room(192, 8)]
LABELS = CONFIGS / "autolabel" / "gpu.yaml"

every_config = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
every_machine = pytest.mark.parametrize(
    "room", MACHINES, ids=lambda room: f"{room.cpus:g}-cores-{room.gpus:g}-gpus"
)


def job(path: Path, *overrides: str) -> tuple[Flow, JobConfig]:
    found, config = load_job(path, overrides)
    return found.flow(config), config


def fit(path: Path, room: Room, *overrides: str, **more: Any) -> dict[str, Pool]:
    """The first stage of each crew -> its pool."""
    flow, config = job(path, *overrides)
    crews = fitted(flow, room, job=config, **more).crews()
    assert all(stage.pool == crew[0].pool for crew in crews for stage in crew)
    return {crew[0].name: crew[0].pool for crew in crews}


def asked(pools: Sequence[Pool]) -> tuple[float, float]:
    cpus = sum(pool.min_size * pool.num_cpus for pool in pools)
    return cpus, sum(pool.min_size * pool.gpus for pool in pools)


@every_config
@every_machine
def test_the_pools_of_every_config_fit_every_machine_together(path: Path, room: Room) -> None:
    pools = fit(path, room)
    cpus, gpus = asked([*pools.values()])
    assert cpus <= room.cpus + 1e-6
    assert gpus <= room.gpus + 1e-6
    assert left(room.gpus, [(pool.min_size, pool.gpus) for pool in pools.values()]) is not None
    assert all(isinstance(pool.num_gpus, float) for pool in pools.values())


@every_config
def test_every_config_leaves_growth_to_ray_on_a_cluster_that_it_joins(path: Path) -> None:
    flow, _ = job(path)
    pools = fit(path, Room(0, 8, grows=True))
    before = {crew[0].name: crew[0].pool for crew in flow.crews()}
    for name, pool in pools.items():
        assert (pool.min_size, pool.max_size) == (before[name].min_size, before[name].max_size)
        assert pool.num_cpus == before[name].num_cpus


@pytest.mark.parametrize("name", ["gpu", "yolo", "sam3", "quickstart"])
@pytest.mark.parametrize(("room", "workers"), [(Room(16, 1), 1), (Room(192, 8), 8)])
def test_each_gpu_has_a_worker_that_labels(name: str, room: Room, workers: int) -> None:
    fetch, *models = fit(CONFIGS / "autolabel" / f"{name}.yaml", room).values()
    assert [(pool.min_size, pool.max_size, pool.num_gpus) for pool in models] == [
        (workers, workers, 1.0)
    ]
    assert fetch.gpus == 0


@pytest.mark.parametrize(("room", "workers"), [(Room(2, 0), 2), (Room(16, 0), 21)])
def test_the_same_config_labels_on_the_cores_of_a_machine_without_gpus(
    room: Room, workers: int
) -> None:
    _, models = fit(CONFIGS / "autolabel" / "quickstart.yaml", room).values()
    assert (models.min_size, models.num_gpus) == (workers, 0.0)


@pytest.mark.parametrize(("room", "workers"), [(Room(16, 1), 1), (Room(192, 8), 8)])
@pytest.mark.parametrize("gpus", ["auto", "0.5"])
def test_two_pools_of_models_share_each_gpu(gpus: str, room: Room, workers: int) -> None:
    """Once both took all of it, and the run hung until start_timeout_s."""
    pool = f"{{num_cpus: 1, num_gpus: {gpus}, max_size: null}}"
    pools = fit(LABELS, room, f"detector_pool={pool}", f"segmenter_pool={pool}")
    for name in ("grounding_dino", "sam2"):
        assert (pools[name].min_size, pools[name].num_gpus) == (workers, 0.5)


def test_measured_times_divide_the_gpus() -> None:
    """The detector takes three times as long, so it gets three times the workers."""
    pool = "{num_cpus: 1, num_gpus: 0.5, max_size: null}"
    seconds = {"page_fetcher": 0.02, "grounding_dino": 0.6, "sam2": 0.2}
    overrides = f"detector_pool={pool}", f"segmenter_pool={pool}"
    pools = fit(LABELS, Room(192, 8), *overrides, seconds=seconds)
    assert (pools["grounding_dino"].min_size, pools["sam2"].min_size) == (12, 4)
    on_cores = fit(LABELS, Room(20, 0), *(one.replace("0.5", "0") for one in overrides),
                   seconds=seconds)  # fmt: skip
    assert (on_cores["grounding_dino"].min_size, on_cores["sam2"].min_size) == (14, 4)


def test_the_last_session_that_was_measured_counts() -> None:
    old = {"stages": {"a": {"rows": 4, "busy_s": 2.0}, "b": {"rows": 2, "busy_s": 3.0}}}
    failed = {"stages": {"a": {"rows": 9, "busy_s": 9.0}, "b": {"rows": 0, "busy_s": 0.0}}}
    assert measured([old, failed, {}]) == {"a": 0.5, "b": 1.5}
    assert measured([failed]) == measured([]) == {}


def test_a_pool_with_max_size_keeps_room_to_grow_on_the_gpus() -> None:
    embedder = "embedder={engine: timm, model: /models/dino}"
    pool = "embedder_pool={num_cpus: 1, num_gpus: 1, max_size: 3}"
    pools = fit(LABELS, Room(192, 8), embedder, pool)
    assert (pools["embed"].min_size, pools["embed"].max_size) == (1, 3)
    assert pools["grounding_dino"].min_size == 5
    two = fit(LABELS, Room(16, 2), embedder, pool)
    assert two["grounding_dino"].min_size == 1, "but each open pool has a worker"


def test_cores_that_a_pool_on_gpus_cannot_use_go_to_the_others() -> None:
    pools = fit(LABELS, Room(192, 1), "fetch_pool={num_cpus: 1, max_size: null}")
    assert (pools["page_fetcher"].min_size, pools["grounding_dino"].min_size) == (190, 1)


def test_an_automatic_pool_takes_what_explicit_ones_leave_of_a_gpu() -> None:
    embedder = "embedder={engine: timm, model: /models/dino}", "embedder_pool.num_gpus=0.25"
    pools = fit(LABELS, Room(16, 1), *embedder)
    assert pools["grounding_dino"].num_gpus == 0.75
    with pytest.raises(ClusterUnreachable, match="no GPU is left for grounding_dino") as caught:
        fit(LABELS, Room(16, 1), embedder[0], "embedder_pool.num_gpus=1")
    assert "lower num_gpus" in caught.value.remedy


def test_several_workers_of_an_automatic_pool_share_the_only_gpu() -> None:
    pool = "detector_pool={num_cpus: 1, min_size: 3, max_size: 3}"
    assert fit(LABELS, Room(16, 1), pool)["grounding_dino"].num_gpus == 0.3333
    assert fit(LABELS, Room(16, 2), pool)["grounding_dino"].num_gpus == 0.5


def test_a_share_is_a_part_of_one_gpu() -> None:
    """Of two GPUs, 0.6 stands on each: the two parts of 0.4 are none of 0.8."""
    assert left(2, [(2, 0.6)]) == pytest.approx([0.4, 0.4])
    assert left(2, [(3, 0.6)]) is None
    assert left(2, [(1, 2.0), (1, 0.1)]) is None
    pool = "detector_pool={num_cpus: 1, num_gpus: 0.6, max_size: null}"
    assert fit(LABELS, Room(192, 8), pool)["grounding_dino"].min_size == 8


def test_models_that_need_more_gpus_than_there_are_are_refused_together() -> None:
    pool = "{num_cpus: 1, num_gpus: 1, max_size: null}"
    with pytest.raises(ClusterUnreachable, match=r"need 2 GPU together \(grounding_dino 1, sam2 1"):
        fit(LABELS, Room(16, 1), f"detector_pool={pool}", f"segmenter_pool={pool}")


def test_a_model_that_would_take_a_gpu_nobody_reserved_is_refused_with_the_line_to_write() -> None:
    with pytest.raises(ConfigError, match="grounding_dino would use a GPU") as no:
        fit(LABELS, Room(16, 1), "detector_pool.num_gpus=0")
    assert no.value.remedy == (
        "set detector_pool.num_gpus: auto to use a GPU, or detector.device: cpu to use none"
    )
    assert "detector_pool asks for none, and this machine has 1" in no.value.message
    on_cores = ("detector_pool.num_gpus=0", "detector.device=cpu", "segmenter.device=cpu")
    assert fit(LABELS, Room(16, 1), *on_cores)["grounding_dino"].min_size == 7
    with pytest.raises(ConfigError, match="sam2 would use a GPU"):
        fit(LABELS, Room(16, 1), *on_cores[:2])


@pytest.mark.parametrize("gpus", ["auto", "0"])
def test_a_model_for_cuda_is_refused_where_there_is_no_gpu(gpus: str) -> None:
    device = ("detector.device=cuda", f"detector_pool.num_gpus={gpus}")
    with pytest.raises(DeviceUnavailable, match="needs a GPU, but this machine has none") as no:
        fit(LABELS, Room(16, 0), *device)
    assert no.value.remedy == "set detector.device: cpu"
    with pytest.raises(DeviceUnavailable, match="but the cluster has none") as no:
        fit(LABELS, Room(16, 0, grows=True), *device)
    assert "ray.num_gpus" in no.value.remedy


def test_a_reader_takes_a_gpu_only_with_an_engine_that_uses_one() -> None:
    path = CONFIGS / "ocr_backfill" / "cpu.yaml"
    assert fit(path, Room(16, 1))["rapid_ocr"].num_gpus == 0.0
    cuda = fit(path, Room(16, 1), "ocr.engine=onnxruntime-cuda")["rapid_ocr"]
    assert (cuda.num_gpus, cuda.min_size) == (1.0, 1)
    with pytest.raises(DeviceUnavailable) as no:
        fit(path, Room(16, 0), "ocr.engine=onnxruntime-cuda")
    assert no.value.remedy == "set another engine in ocr"


def test_a_joined_cluster_gets_no_more_workers_than_batches() -> None:
    pool = fit(LABELS, Room(4, 8, grows=True), rows=65)["grounding_dino"]
    assert (pool.min_size, pool.max_size, pool.num_gpus) == (1, 3, 1.0)


def test_a_pool_without_gpus_sees_none() -> None:
    assert runtime_env(Pool())["env_vars"]["CUDA_VISIBLE_DEVICES"] == ""
    assert "env_vars" not in runtime_env(Pool(num_gpus=0.5)), "Ray sets it"


def test_a_machine_is_counted_without_ray() -> None:
    flow, _ = job(LABELS)
    assert of_machine(RayConfig(num_cpus=3, num_gpus=2), flow) == Room(3, 2)
    assert of_machine(RayConfig(num_cpus=3), flow).gpus == 0, "no GPU is here"


sizes = st.lists(
    st.tuples(st.floats(0.1, 5), st.floats(0, 3), st.floats(0, 9)), min_size=1, max_size=6
)


@given(total=st.floats(0, 30), pools=sizes)
def test_shares_fill_what_there_is_within_their_bounds(
    total: float, pools: list[tuple[float, float, float]]
) -> None:
    weights, low, more = (list(one) for one in zip(*pools, strict=True))
    high = [a + b for a, b in zip(low, more, strict=True)]
    shares = divided(total, weights, low, high)
    assert all(a <= s <= b for a, s, b in zip(low, shares, high, strict=True))
    assert sum(shares) == pytest.approx(min(max(total, sum(low)), sum(high)), abs=1e-6)
