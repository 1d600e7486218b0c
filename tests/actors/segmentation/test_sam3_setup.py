"""Checks before SAM 3 runs: weights, processor, prompts, device."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sam3_answers import IMAGES, ONTOLOGY, actor, table
from tiny_sam3 import SIZE, tiny_checkpoint, tokenizer
from transformers import Sam3Config as LibraryConfig
from transformers import (
    Sam3ImageProcessor,
    Sam3Model,
    Sam3VideoConfig,
    Sam3VideoModel,
    Sam3VideoProcessor,
)
from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

from actors.failures import SetupError
from actors.segmentation.sam3 import Sam3
from actors.segmentation.sam3_prompts import tokens_of
from actors.segmentation.settings import Sam3Config

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def sam3(checkpoint: Path) -> Sam3:
    return actor(checkpoint)


def test_the_driver_needs_no_torch_to_plan() -> None:
    program = (
        "import sys, actors.segmentation.sam3;"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_a_config_names_its_engine_and_its_operational_keys() -> None:
    config = Sam3Config.model_validate({"model": "owner/name", "ontology": ONTOLOGY})
    assert config.engine == "sam3"
    assert Sam3Config.operational < set(Sam3Config.model_fields)


def test_provenance_pins_the_weights(sam3: Sam3, tmp_path: Path) -> None:
    first = sam3.provenance()
    assert (first["device"], first["dtype"], len(first["weights_sha256"])) == ("cpu", "float32", 64)
    assert "transformers" in first["engine"]
    other = actor(tiny_checkpoint(tmp_path, seed=1)).provenance()
    assert other["weights_sha256"] != first["weights_sha256"]


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        (["cat", " "], "cannot be tokenised"),
        (["caf\u00e9", "cafe\u0301"], "has the same tokens as prompt"),
        (["traffic_light", "Traffic-Light"], "has the same tokens as prompt"),
    ],
)
def test_prompts_that_the_model_cannot_tell_stop_the_run(prompts: list[str], said: str) -> None:
    with pytest.raises(SetupError, match=said) as caught:
        tokens_of([("thing", prompt) for prompt in prompts], tokenizer(), limit=32)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("traffic_light", "traffic light"),
        ("'cat'/\"dog\"", "cat dog"),
        ("cat <|startoftext|> dog", "cat startoftext dog"),  # no special token
    ],
)
def test_punctuation_parts_words(spelling: str, words: str) -> None:
    read = tokens_of([("a", spelling), ("b", f"red {words}")], tokenizer(), limit=32)
    assert read[0] == tokens_of([("a", words)], tokenizer(), limit=32)[0]


def copied(checkpoint: Path, folder: Path) -> Path:
    return Path(shutil.copytree(checkpoint, folder / "copy"))


def drop_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["detr_decoder.presence_token.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def leave_pickles_only(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def cut_the_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def name_another_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "sam2"}
    (folder / "config.json").write_text(json.dumps(config))


def forget_the_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def make_other_images(folder: Path) -> None:
    path = folder / "processor_config.json"
    content = json.loads(path.read_text())
    content["image_processor"]["size"] = {"height": 224, "width": 224}
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (drop_a_weight, "lacks 1 weights, e.g. detr_decoder.presence_token.weight"),
        (leave_pickles_only, "model.safetensors"),
        (cut_the_weights, "cannot load"),
        (name_another_architecture, "is of type sam2; this actor runs sam3 and sam3_video"),
        (forget_the_tokenizer, "cannot be tokenised"),
        (make_other_images, "needs 112 x 112 px, but its processor resizes to 224 x 224"),
    ],
)
def test_weights_that_are_not_the_checkpoints_stop_the_run(
    checkpoint: Path, tmp_path: Path, damage: Any, said: str
) -> None:
    folder = copied(checkpoint, tmp_path)
    damage(folder)
    with pytest.raises(SetupError) as caught:
        actor(folder)
    assert said in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nowhere", "'./nowhere' is neither an existing directory nor a hub id"),
        ("nowhere", "'nowhere' is neither an existing directory nor a hub id"),
        ("facebook/never-published", "cannot download 'facebook/never-published' at revision main"),
    ],
)
def test_a_model_that_is_not_there_is_named(name: str, said: str) -> None:
    with pytest.raises(SetupError, match=said) as caught:
        Sam3(Sam3Config(model=name, local_files_only=True, ontology=ONTOLOGY))
    assert caught.value.remedy


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_where_there_is_none(checkpoint: Path) -> None:
    with pytest.raises(SetupError, match="sets device: cuda") as caught:
        actor(checkpoint, device="cuda")
    assert "num_gpus" in caught.value.remedy


def test_a_checkpoint_for_video_gives_the_same_answers(
    checkpoint: Path, sam3: Sam3, tmp_path: Path
) -> None:
    """The hub's facebook/sam3 says of itself that it is of the type sam3_video."""
    config = LibraryConfig.from_pretrained(checkpoint)
    thin = {"hidden_size": 32}
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": config.vision_config.to_dict(),
        "prompt_encoder_config": thin | {"image_size": SIZE},
        "mask_decoder_config": thin | {"iou_head_hidden_dim": 32},
        "memory_attention_hidden_size": 32,
        "memory_encoder_hidden_size": 32,
        "mask_downsampler_embed_dim": 32,
        "memory_fuser_embed_dim": 32,
    }
    video = Sam3VideoModel(
        Sam3VideoConfig(detector_config=config.to_dict(), tracker_config=tracker)
    )
    video.detector_model.load_state_dict(Sam3Model.from_pretrained(checkpoint).state_dict())
    video.save_pretrained(tmp_path)
    square = {"height": SIZE, "width": SIZE}
    Sam3VideoProcessor(
        Sam3ImageProcessor(size=square), Sam2VideoVideoProcessor(size=square), tokenizer()
    ).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sam3_video"
    rows = table(IMAGES[:2])
    out = actor(tmp_path)(rows)
    assert out["boxes"].equals(sam3(rows)["boxes"])
    assert out["masks"].equals(sam3(rows)["masks"])
