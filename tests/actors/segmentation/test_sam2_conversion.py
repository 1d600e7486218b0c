"""Meta's original checkpoints under transformers' names, against Meta's own results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from make_sam2_meta_reference import BOXES, FILE, pixels, weight
from tiny_sam2 import tiny_config
from torch import Tensor
from transformers import Sam2Model

from actors.failures import SetupError
from actors.segmentation.sam2 import Sam2
from actors.segmentation.sam2_checkpoint import load_sam2
from actors.segmentation.sam2_meta_names import (
    CONFIG_NAMES,
    transformers_config,
    transformers_state,
)
from actors.segmentation.sam2_packed import BoxPrompt, PackedSam2
from actors.segmentation.settings import Sam2Config

#: Weights of the image part, counted in Meta's own models.
WEIGHTS = {"t": 31_441_233, "s": 38_539_089, "b+": 73_328_913, "l": 216_925_377}


def meta_state() -> dict[str, Tensor]:
    """The state dict of the reduced model that the reference was made with."""
    reference = np.load(FILE)
    return {
        str(name): torch.from_numpy(weight(str(name), tuple(map(int, str(shape).split(",")))))
        for name, shape in zip(reference["names"], reference["shapes"], strict=True)
    }


def test_converted_weights_give_metas_masks() -> None:
    reference = np.load(FILE)
    model = Sam2Model(tiny_config())
    model.load_state_dict(transformers_state(meta_state()), strict=True)
    sam2 = PackedSam2(model, torch.device("cpu"), torch.float32)
    (features,) = sam2.embed([torch.from_numpy(pixels())])
    found = sam2.decode([BoxPrompt(features, torch.from_numpy(box)) for box in BOXES])
    assert reference["masks"].std() > 1  # the reference itself says something
    for mask, logits, iou in zip(found, reference["masks"], reference["ious"], strict=True):
        np.testing.assert_allclose(mask.logits.numpy(), logits, atol=1e-4)
        assert mask.iou == pytest.approx(float(iou), abs=1e-5)


@pytest.mark.parametrize("name", CONFIG_NAMES)
def test_every_config_of_meta_has_its_size(name: str) -> None:
    with torch.device("meta"):
        model = Sam2Model(transformers_config(name))
    size = name.removesuffix(".yaml").rsplit("_", 1)[1]
    assert sum(weight.numel() for weight in model.state_dict().values()) == WEIGHTS[size]


def test_every_weight_of_the_image_part_comes_from_a_weight_of_meta() -> None:
    state = meta_state()
    without_memory = {n: w for n, w in state.items() if not n.startswith(("memory_", "maskmem"))}
    assert transformers_state(without_memory).keys() == transformers_state(state).keys()
    for name in state:
        converted = transformers_state({k: w for k, w in state.items() if k != name})
        video = transformers_state({name: state[name]}) == {}
        if video:
            assert converted.keys() == transformers_state(state).keys()
        elif ".point_embeddings." in name:
            assert len(converted["prompt_encoder.point_embed.weight"]) == 3
        else:
            assert converted.keys() < transformers_state(state).keys()


def test_foreign_weight_is_not_swallowed() -> None:
    state = transformers_state(meta_state() | {"image_encoder.trunk.extra": torch.zeros(1)})
    with pytest.raises(RuntimeError, match=r"vision_encoder\.backbone\.extra"):
        Sam2Model(tiny_config()).load_state_dict(state, strict=True)


@pytest.mark.parametrize(
    ("content", "meta_config", "message"),
    [
        ({"model": {}}, None, "does not contain its architecture"),
        ({"model": {}}, "hiera_t.yaml", "does not contain its architecture"),
        ({"state_dict": {}}, "sam2.1_hiera_t.yaml", "is not a checkpoint of SAM 2: KeyError"),
        ({"model": {"w": torch.zeros(1)}}, "sam2.1_hiera_t.yaml", r"does not fit sam2\.1_hiera_t"),
        ({"model": Path("code")}, "sam2.1_hiera_t.yaml", "is not a checkpoint of SAM 2"),
        (None, "sam2.1_hiera_t.yaml", "does not exist"),
    ],
)
def test_setup_names_what_is_wrong_with_a_pt_file(
    tmp_path: Path, content: object, meta_config: str | None, message: str
) -> None:
    path = tmp_path / "sam2.pt"
    if content is not None:
        torch.save(content, path)
    with pytest.raises(SetupError, match=message) as caught:
        Sam2(Sam2Config(model=str(path), meta_config=meta_config, device="cpu"))
    assert caught.value.remedy


def test_config_of_meta_for_another_kind_of_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"is not a \.pt file"):
        Sam2(Sam2Config(model=str(tmp_path), meta_config="sam2.1_hiera_t.yaml", device="cpu"))


@pytest.mark.long
def test_metas_package_and_its_converted_checkpoint_agree_at_full_size(tmp_path: Path) -> None:
    """Runs where the package `sam2` is installed; it is no dependency of ours."""
    build = pytest.importorskip("sam2.build_sam")
    predictor_module = pytest.importorskip("sam2.sam2_image_predictor")
    torch.set_num_threads(1)
    meta = build.build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for value in meta.parameters():
            value.add_(torch.randn_like(value) * 0.02)
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": meta.state_dict()}, path)
    predictor = predictor_module.SAM2ImagePredictor(meta)
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    predictor.set_image(image)
    boxes = np.array([[15.0, 20, 150, 170], [50, 50, 300, 235]])
    _, ious, logits = predictor.predict(box=boxes, multimask_output=False)

    loaded = load_sam2(Sam2Config(model=str(path), meta_config="sam2.1_hiera_t.yaml"))
    assert loaded.processor.size["height"] == 1024
    sam2 = PackedSam2(loaded.model, torch.device("cpu"), torch.float32)
    (features,) = sam2.embed([predictor._transforms(image)])
    scaled = torch.from_numpy(boxes * ([1024 / 320, 1024 / 240] * 2)).float()
    found = sam2.decode([BoxPrompt(features, box) for box in scaled])
    for mask, wanted, iou in zip(found, logits[:, 0], ious[:, 0], strict=True):
        np.testing.assert_allclose(mask.logits.numpy(), wanted, atol=1e-5)
        assert mask.iou == pytest.approx(float(iou), abs=1e-5)
