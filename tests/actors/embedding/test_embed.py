"""Vectors for images: statistics of colours and edges, and backbones of timm."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from doubles.device_with_little_memory import little_memory
from odd_pictures import plain_scene
from PIL import Image
from safetensors.torch import load_file, save_file

from actors.embedding.embed import Embed
from actors.embedding.settings import EMBEDDING, StatisticsConfig, TimmConfig
from actors.embedding.statistics import LENGTH
from actors.failures import SetupError
from pipelines.autolabel import AutolabelConfig, autolabel
from pipelines.config_files import validated
from pipelines.errors import ConfigError

timm = pytest.importorskip("timm", reason="timm is not installed: pip install 'nightjar[curate]'")

SCENES = Path(__file__).parents[3] / "configs" / "samples" / "scenes"


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(seed: int, size: tuple[int, int] = (90, 70)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    return encoded(Image.fromarray(pixels))


def table(images: list[bytes | None]) -> pa.Table:
    return pa.table({"image": pa.array(images, pa.binary())})


def vectors(actor: Embed, images: list[bytes | None]) -> list[np.ndarray | None]:
    found = actor(table(images))["embedding"].to_pylist()
    return [None if one is None else np.array(one, np.float32) for one in found]


@pytest.fixture(scope="module")
def statistics() -> Embed:
    return Embed(StatisticsConfig())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ConvNeXt with random weights, saved as timm saves for the hub."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("timm") / "atto"
    model = timm.create_model("convnext_atto", num_classes=7)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return folder


def actor(checkpoint: Path, **settings: Any) -> Embed:
    return Embed(TimmConfig(**{"model": str(checkpoint), "dtype": "float32"} | settings))


# ---------------------------------------------------------------- both


def test_rows_stay_in_order_and_bad_images_fail_alone(statistics: Embed, checkpoint: Path) -> None:
    good = noise(0)
    images = [good, None, b"", b"text", good[: len(good) // 2], good]
    for one in (statistics, actor(checkpoint)):
        out = one(table(images))
        assert out.schema.field("embedding").type == EMBEDDING
        found = out["embedding"].to_pylist()
        assert [vector is None for vector in found] == [False, True, True, True, True, False]
        assert found[0] == found[5]
        faults = [fault and fault["kind"] for fault in out["embed_failure"].to_pylist()]
        assert faults == [None, None, *["CORRUPT_IMAGE"] * 3, None]
        assert one(table([])).num_rows == 0


def test_vectors_have_unit_length(statistics: Embed, checkpoint: Path) -> None:
    images: list[bytes | None] = [noise(1), encoded(Image.new("L", (1, 3000), 128))]
    for one in (statistics, actor(checkpoint)):
        for vector in vectors(one, images):
            assert vector is not None
            assert np.linalg.norm(vector) == pytest.approx(1, abs=2e-3)


def test_too_many_pixels_are_named(statistics: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (fault,) = statistics(table([noise(0)]))["embed_failure"].to_pylist()
    assert fault["kind"] == "TOO_MANY_PIXELS"


# ---------------------------------------------------------------- statistics


def test_the_same_picture_stored_otherwise_is_near_and_another_is_far(statistics: Embed) -> None:
    scene = Image.fromarray(plain_scene().pixels)
    half = scene.resize((scene.width // 2, scene.height // 2), Image.Resampling.LANCZOS)
    again = [
        encoded(scene, "JPEG", quality=60),
        encoded(half),
        encoded(scene.crop((2, 2, scene.width - 2, scene.height - 2))),
    ]
    others = [path.read_bytes() for path in sorted(SCENES.glob("*.jpg"))]
    found = vectors(statistics, [encoded(scene), *again, *others])
    first, *rest = (one for one in found if one is not None)
    distances = [1 - float(first @ one) for one in rest]
    assert max(distances[:3]) < 0.02 < min(distances[3:])


def test_statistics_know_their_name_and_length(statistics: Embed) -> None:
    assert len(vectors(statistics, [noise(0)])[0]) == LENGTH == 240
    assert "statistics" in statistics.provenance()["model"]
    assert "statistics" in statistics.seconds


# ---------------------------------------------------------------- timm


def test_features_are_timms_own(checkpoint: Path) -> None:
    """Resized, cropped and normalised as the checkpoint's own config says."""
    model = timm.create_model(f"local-dir:{checkpoint}", pretrained=True, num_classes=0).eval()
    settings = timm.data.resolve_data_config(model=model)
    transform = timm.data.create_transform(**settings, is_training=False)
    image = Image.open(io.BytesIO(noise(3))).convert("RGB")
    with torch.inference_mode():
        expected = model(transform(image)[None])[0].numpy()
    (found,) = vectors(actor(checkpoint), [noise(3)])
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-3)


def test_half_precision_moves_a_vector_by_little(checkpoint: Path) -> None:
    half = actor(checkpoint, dtype="bfloat16")
    assert half.provenance()["dtype"] == "bfloat16"
    images: list[bytes | None] = [noise(seed) for seed in range(4)]
    exact = np.array(vectors(actor(checkpoint), images), np.float64)
    cosines = (exact * np.array(vectors(half, images))).sum(1)
    assert 0.999 < cosines.min() <= cosines.max() < 1.001
    assert not np.array_equal(exact, vectors(half, images))


def test_no_vector_depends_on_its_neighbours(checkpoint: Path) -> None:
    images: list[bytes | None] = [noise(seed, (40 + 9 * seed, 60)) for seed in range(5)]
    together = vectors(actor(checkpoint, images_at_once=4), images)
    alone = [vectors(actor(checkpoint, images_at_once=1), [image])[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_batch_that_does_not_fit_is_halved(checkpoint: Path) -> None:
    embed = actor(checkpoint, images_at_once=4)
    images: list[bytes | None] = [noise(seed) for seed in range(4)]
    expected = vectors(embed, images)
    widest = 4 * 40 * 56 * 56 * 4  # bytes of one image in the first block
    with little_memory(2 * widest) as device:  # room for two images, not for four
        found = vectors(embed, images)
    assert device.refusals > 0
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_image_that_does_not_fit_alone_is_out_of_memory(checkpoint: Path) -> None:
    embed = actor(checkpoint)
    with little_memory(4096):
        out = embed(table([noise(0)]))
    assert out["embed_failure"].to_pylist()[0]["kind"] == "OUT_OF_MEMORY"
    assert out["embedding"].null_count == 1


def test_nan_is_a_fault_of_the_image(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    weights["stem.0.bias"][0] = torch.nan
    broken = copy_with(checkpoint, tmp_path / "nan", weights)
    out = actor(broken)(table([noise(0)]))
    assert out["embed_failure"].to_pylist()[0]["kind"] == "ENGINE_FAULT"


def copy_with(checkpoint: Path, folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    save_file(weights, folder / "model.safetensors")
    return folder


def test_setup_names_what_is_wrong(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    lacking = {name: one for name, one in weights.items() if name != "stem.0.weight"}
    cut = copy_with(checkpoint, tmp_path / "cut", weights)
    file = cut / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    unknown = copy_with(checkpoint, tmp_path / "unknown", weights)
    config = json.loads((unknown / "config.json").read_text()) | {"architecture": "no_such_model"}
    (unknown / "config.json").write_text(json.dumps(config))
    (tmp_path / "empty").mkdir()
    cases = [
        (tmp_path / "none", "neither an existing directory nor a hub id"),
        (tmp_path / "empty", "has no model.safetensors"),
        (copy_with(checkpoint, tmp_path / "lacking", lacking), r"lacks weights: .*stem.0.weight"),
        (cut, "cannot load"),
        (unknown, "cannot load .*no_such_model"),
    ]
    for folder, message in cases:
        with pytest.raises(SetupError, match=message) as caught:
            actor(folder)
        assert caught.value.remedy


def test_missing_library_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # what Python does for "not there"
    with pytest.raises(SetupError, match="engine timm: cannot import the package timm") as caught:
        actor(checkpoint)
    assert "nightjar[curate]" in caught.value.remedy


def test_provenance_names_weights_and_engine(checkpoint: Path) -> None:
    named = actor(checkpoint).provenance()
    assert named["model"] == str(checkpoint)
    assert len(named["weights_sha256"]) == 64
    assert named["architecture"] == "convnext_atto, 320 numbers"
    assert named["engine"].startswith("timm 1.")


# ---------------------------------------------------------------- in the flow

CONFIG = {
    "run_dir": "runs/none",
    "source": {"path": "nowhere"},
    "detector": {"model": "none", "ontology": {"classes": {"red star": {}}}},
    "segmenter": {"model": "none"},
}


def test_the_flow_embeds_only_if_it_is_asked_to() -> None:
    plain = autolabel(AutolabelConfig.model_validate(CONFIG))
    assert "embedding" not in plain.schema.names
    asked = autolabel(AutolabelConfig.model_validate(CONFIG | {"embedder": {}}))
    assert [stage.name for stage in asked.stages][:2] == ["page_fetcher", "embed"]
    assert asked.schema.field("embedding").type == EMBEDDING
    assert set(asked.schema.names) - set(plain.schema.names) == {"embedding", "embed_failure"}


def test_a_wrong_engine_and_a_wrong_key_are_named() -> None:
    with pytest.raises(ConfigError, match="engine must be one of statistics, timm"):
        validated(AutolabelConfig, CONFIG | {"embedder": {"engine": "clip"}}, "a.yaml")
    wrong = {"engine": "timm", "modle": "x", "model": "y"}
    with pytest.raises(ConfigError, match=r"embedder.modle: unknown key; did you mean 'model'"):
        validated(AutolabelConfig, CONFIG | {"embedder": wrong}, "a.yaml")
