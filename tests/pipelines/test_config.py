"""Strict configs, and keys that may change between two sessions of one run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, write_config

from pipelines.config import changed_keys, result_keys, with_new_keys
from pipelines.errors import ConfigError
from pipelines.job import load_job


@pytest.mark.parametrize(
    "path",
    sorted((REPOSITORY / "configs").glob("*/*.yaml")),
    ids=lambda p: f"{p.parent.name}/{p.name}",
)
def test_every_config_in_the_repository_plans_its_flow(path: Path) -> None:
    job, config = load_job(path)
    flow = job.flow(config)
    assert {"row_id", "uri", "outcome", "reasons"} <= set(flow.schema.names)
    assert "image" not in flow.schema.names


@pytest.mark.parametrize(
    ("override", "group", "kept"),
    [
        (
            "ocr_pool.batch_size=8",
            "ocr_pool",
            {"batch_size": 8, "max_size": None, "num_cpus": 0.75},
        ),
        ("ocr_pool.max_size=2", "ocr_pool", {"batch_size": 16, "max_size": 2, "num_cpus": 0.75}),
        ("vlm_pool.num_cpus=1", "vlm_pool", {"num_cpus": 1.0, "concurrency": 16}),
        ("paddle_ocr_pool.batch_size=4", "paddle_ocr_pool", {"environment": "paddle_ocr"}),
    ],
)
def test_a_group_that_is_given_in_part_keeps_the_defaults_of_its_job(
    override: str, group: str, kept: dict, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"{{job: ocr_backfill, run_dir: run, source: {{path: {tmp_path}}}}}")
    pool = getattr(load_job(path, [override])[1], group).model_dump()
    assert kept.items() <= pool.items()


def test_labelling_ignores_text_layers_whatever_else_fetch_says() -> None:
    quickstart = REPOSITORY / "configs/autolabel/quickstart.yaml"
    _, config = load_job(quickstart, ["fetch.dpi=100"])
    assert (config.fetch.dpi, config.fetch.native_text.enabled) == (100, False)
    _, config = load_job(quickstart, ["fetch.native_text.min_chars=5"])
    assert not config.fetch.native_text.enabled
    _, config = load_job(quickstart, ["fetch.native_text.enabled=true"])
    assert config.fetch.native_text.enabled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ocr": {"engin": "openvino"}}, "ocr.engin: unknown key; did you mean 'engine'?"),
        ({"sorce": {}}, "sorce: unknown key; did you mean 'source'?"),
        ({"ocr_pool": {"max_size": 0}}, "ocr_pool.max_size: must be at least 1 (got 0)"),
        ({"source": {}}, "source.path: missing"),
        ({"routing": {"floors": {"rapid_ocr": {"mean": 1}}}}, "routing.floors.rapid_ocr.mean"),
    ],
)
def test_each_fault_is_named_by_its_key(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_job(write_config(tmp_path, tmp_path, **change))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["detector.modle=x"], "detector.modle: unknown key; did you mean 'model'?"),
        (["detector.engine=yollo"], "detector: engine must be one of grounding_dino, yolo, sam3"),
        (["detector.engine=sam3"], "  sam3 makes its own masks: remove segmenter"),
        (["detector.ontology.treshold=1"], "detector.ontology.treshold: unknown key; did you mean"),
        (["segmenter=null"], "  no model makes masks: set segmenter, or set triage.need_mask"),
    ],
)
def test_faults_of_a_choice_of_engines_are_named_by_their_key(overrides, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_job(REPOSITORY / "configs/autolabel/quickstart.yaml", overrides)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        ([], ["page_fetcher", "grounding_dino", "sam2"]),
        (["segmenter=null", "triage.need_mask=false"], ["page_fetcher", "grounding_dino"]),
        (["detector.engine=yolo"], ["page_fetcher", "yolo", "sam2"]),
        (["detector.engine=yolo", "segmenter=null"], ["page_fetcher", "yolo_seg"]),
        (["detector.engine=sam3", "segmenter=null"], ["page_fetcher", "sam3"]),
    ],
)
def test_the_models_of_a_labelling_flow_are_those_of_its_config(overrides, stages) -> None:
    job, config = load_job(REPOSITORY / "configs/autolabel/quickstart.yaml", overrides)
    assert [stage.name for stage in job.flow(config).stages] == stages


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_job(write_config(tmp_path, tmp_path, fetch={"dpi": 1}, sink={"flush": 3}))
    assert "fetch.dpi" in caught.value.message
    assert "sink.flush" in caught.value.message


def test_a_file_that_is_no_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config file"):
        load_job(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="mapping of keys"):
        load_job(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_job(tmp_path / "broken.yaml")


def test_overrides_reach_nested_keys_and_are_typed(tmp_path: Path) -> None:
    path = write_config(tmp_path, tmp_path)
    _, config = load_job(path, ["fetch.dpi=150", "ocr_pool.max_size=null", "fetch.oversize=shrink"])
    assert config.fetch.dpi == 150
    assert config.fetch.oversize == "shrink"


def keys_of(tmp_path: Path, *overrides: str) -> dict:
    return result_keys(load_job(write_config(tmp_path, tmp_path), overrides)[1])


@pytest.mark.parametrize(
    "override",
    ["run_dir=elsewhere", "ocr_pool.batch_size=3", "sink.rows_per_shard=5", "prices.cpu_hour=2",
     "ray.num_cpus=1", "fetch.threads=2", "ocr.threads=2"],
)  # fmt: skip
def test_operational_keys_change_no_result(tmp_path: Path, override: str) -> None:
    assert changed_keys(keys_of(tmp_path), keys_of(tmp_path, override)) == []


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("fetch.dpi=99", "fetch.dpi: 200 -> 99"),
        ("routing.blank_ink_share=0.5", "routing.blank_ink_share: 0.002 -> 0.5"),
        ("source.recursive=false", "source.recursive: True -> False"),
        ("fetch.limits.max_pixels=7", "fetch.limits.max_pixels: 100000000 -> 7"),
    ],
)
def test_result_keys_are_named_with_both_values(tmp_path: Path, override: str, named: str) -> None:
    assert changed_keys(keys_of(tmp_path), keys_of(tmp_path, override)) == [named]


def test_a_changed_ontology_names_the_classes_that_came_went_or_changed() -> None:
    def keys(*overrides: str) -> dict:
        alone = ["detector.ontology.exclusive=[]", *overrides]
        return result_keys(load_job(REPOSITORY / "configs/autolabel/quickstart.yaml", alone)[1])

    classes = "detector.ontology.classes"
    before = keys(f"{classes}={{car: {{threshold: 0.3}}, van: , bus: }}")
    now = keys(f"{classes}={{car: {{threshold: 0.4}}, truck: , bus: {{prompts: [bus, coach]}}}}")
    assert changed_keys(before, now) == [
        f"{classes}.car.threshold: 0.3 -> 0.4",
        f"{classes}: 'truck' is new",
        f"{classes}.bus.prompts: [] -> ['bus', 'coach']",
        f"{classes}: 'van' is gone",
    ]


def test_a_key_that_an_older_version_did_not_have_counts_as_its_default(tmp_path: Path) -> None:
    def changed(older: dict, *overrides: str) -> list[str]:
        _, config = load_job(write_config(tmp_path, tmp_path), overrides)
        return changed_keys(with_new_keys(older, config), result_keys(config))

    older = {k: v for k, v in keys_of(tmp_path).items() if not k.startswith(("fetch.dpi", "ocr."))}
    assert changed(older) == []
    assert changed(older, "fetch.dpi=99") == ["fetch.dpi: 200 -> 99"]
    assert changed(older, "ocr.precision=f32") == ["ocr.precision: 'auto' -> 'f32'"]
    assert older["surya"] is None
    assert "surya.model: None -> " in "; ".join(changed(older, "surya.base_url=http://127.0.0.1:1"))


def test_the_written_config_is_what_was_asked_for(tmp_path: Path) -> None:
    path = write_config(tmp_path, tmp_path, fetch={"dpi": 123})
    assert yaml.safe_load(path.read_text())["fetch"]["dpi"] == load_job(path)[1].fetch.dpi
