"""`nightjar plan --measure` with the pocket models: tables, and lines that a config accepts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from conftest import REPOSITORY, Ended, in_this_process
from doubles.device_with_little_memory import little_memory
from tiny_sam3 import SIZE, tiny_checkpoint

from actors.contract import Pool
from actors.segmentation.sam3 import Sam3
from actors.segmentation.settings import Sam3Config
from jobs.commands.measure import rendered
from pipelines.engine.sizes.batch_sizes import KNOBS, Growth, Size, knobs_of, measured
from pipelines.flow import Stage
from pipelines.job import load_job

CONFIG = REPOSITORY / "configs" / "autolabel" / "quickstart.yaml"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    run = tmp_path_factory.mktemp("measure") / "run"
    options = ("--measure", "--seconds", "0", "--sample", "3", "--set", f"run_dir={run}")
    return in_this_process(REPOSITORY, "plan", CONFIG, *options)


def lines_of(text: str) -> dict[str, Any]:
    """What is printed for the config."""
    return yaml.safe_load(text.partition("In the config:")[2])


def test_each_model_gets_a_table_of_batches(printed: Ended) -> None:
    assert printed.code == 0, printed.err
    assert "19 files, 19 images" in printed.out
    for wanted in ("grounding_dino", "sam2", "images/s", "boxes/s"):
        assert wanted in printed.out
    rates = re.findall(r"^ +1 +([\d.,]+) +([\d.]+) GB", printed.out, re.MULTILINE)
    assert len(rates) >= 3
    assert all(float(rate.replace(",", "")) > 0 and float(memory) > 0 for rate, memory in rates)


def test_the_printed_lines_are_settings_of_the_config(printed: Ended) -> None:
    lines = lines_of(printed.out)
    pixels = lines["detector"]["forward_pixels"]
    assert pixels % (320 * 256) == 0 or pixels >= 128 * 160
    assert lines["segmenter"] == {"images_at_once": 1, "boxes_at_once": 1}
    changes = [f"{group}.{key}={value}" for group in lines for key, value in lines[group].items()]
    _, config = load_job(CONFIG, changes)
    assert config.detector.forward_pixels == pixels


def test_rendered_images_stand_for_a_source_that_cannot_be_read(
    command: Callable[..., Ended], tmp_path: Path
) -> None:
    options = ("--measure", "--size", "200x150", "--seconds", "0", "--sample", "1")
    changes = ("--set", f"source.path={tmp_path / 'nowhere'}", "--set", "segmenter=null")
    boxes = ("--set", "triage.need_mask=false")
    pocket = ("--set", f"detector.model={CONFIG.parent / 'pocket' / 'detector'}")
    done = command("plan", CONFIG, *options, *changes, *boxes, *pocket)
    assert done.code == 0, done.err
    assert "images of 200 x 150 px" in done.out
    assert set(lines_of(done.out)) == {"detector"}


def test_what_cannot_be_measured_is_said(command: Callable[..., Ended]) -> None:
    asked = ("plan", CONFIG, "--measure", "--seconds", "0")
    wrong = command(*asked, "--size", "large")
    assert wrong.code == 2
    assert "--size large" in wrong.err
    missing = command(*asked, "--size", "64x64", "--set", "detector.model=./nowhere")
    assert missing.code == 4
    assert "'./nowhere' is neither an existing directory nor a hub id" in missing.err
    readers = REPOSITORY / "configs" / "ocr_backfill" / "quickstart.yaml"
    none = command("plan", readers, "--measure", "--size", "64x64")
    assert none.code == 2
    assert "no model of this config has a batch size" in none.err


@pytest.fixture
def sam3(tmp_path: Path) -> Stage:
    classes = {"cat": {}, "dog": {"prompts": ["dog", "red dog"]}}
    config = Sam3Config(
        model=str(tiny_checkpoint(tmp_path)), device="cpu", ontology={"classes": classes}
    )
    return Stage(Sam3, config, Pool())


def pictures(count: int) -> pa.Table:
    return pa.table({"image": [rendered("120x90", 1)[0]] * count})


def test_pairs_grow_by_the_prompts_of_an_image(sam3: Stage) -> None:
    images, pairs = knobs_of(sam3)
    assert [images.key, pairs.key] == ["images_at_once", "prompts_at_once"]
    found = measured(sam3, pairs, pictures(1), seconds=0)
    assert [(size.batch, size.value) for size in found.sizes] == [(3, 3)]
    assert found.ended == "0 s are over"


def test_growth_ends_where_memory_does(sam3: Stage) -> None:
    with little_memory(3 * SIZE * SIZE * 4 * 3 // 2):  # room for one image, not for two
        found = measured(sam3, knobs_of(sam3)[0], pictures(2), seconds=60)
    assert [size.batch for size in found.sizes] == [1]
    assert found.ended == "no memory for 2"
    assert found.best == found.sizes[0]


def growth(*rates: float) -> Growth:
    sizes = [Size(2**n, rate, 10**6, 2**n) for n, rate in enumerate(rates)]
    return Growth("model", KNOBS[1], sizes)


def test_the_smallest_size_that_is_nearly_fastest_is_best() -> None:
    assert growth().best is None
    assert growth(10, 18, 30, 31, 29).best == growth(10, 18, 30).sizes[-1]
    assert growth(10, 10.2).best == growth(10).sizes[0]


def test_growth_ends_after_two_sizes_without_gain() -> None:
    assert not growth(10).flat
    assert not growth(10, 10).flat
    assert growth(10, 10, 10.1).flat
    assert not growth(10, 9, 12).flat
    assert not growth(10, 12, 12).flat
