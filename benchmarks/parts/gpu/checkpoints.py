"""Checkpoints with random, seeded weights, made on the machine that measures them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
)

from actors.segmentation.sam2_meta_names import transformers_config

sys.path.append(str(Path(__file__).parents[3] / "tests/resources"))

import tiny_grounding_dino
import tiny_sam2
import tiny_sam3

POCKET = Path(__file__).parents[3] / "configs/autolabel/pocket"
#: The backbone of IDEA-Research/grounding-dino-base; tiny is the library's default.
SWIN_BASE = {
    "model_type": "swin",
    "embed_dim": 128,
    "depths": [2, 2, 18, 2],
    "num_heads": [4, 8, 16, 32],
    "window_size": 12,
    "image_size": 384,
    "out_indices": [2, 3, 4],
}
DINO_TINY, DINO_BASE = "grounding-dino-tiny", "grounding-dino-base"
SAM2_TINY, SAM2_LARGE, SAM3 = "sam2.1-hiera-tiny", "sam2.1-hiera-large", "sam3"


def checkpoint(name: str, work: Path, tiny: bool) -> Path:
    """The folder of a checkpoint, written below `work` unless it is there.

    Full size: the architecture of the hub's checkpoint of that name, random weights, float32. The
    tokenizers are the pocket detector's and the test suite's: their ids are valid, their words are
    not the hub's. `tiny`: the pocket models and the test suite's smallest ones instead.
    """
    folder = work / f"{name}{'-in-small' if tiny else ''}"
    if not folder.is_dir():
        torch.manual_seed(0)
        (_SMALL if tiny else _FULL)[name](folder)
    return folder


def _dino(folder: Path, config: GroundingDinoConfig) -> None:
    model = GroundingDinoForObjectDetection(config)
    tiny_grounding_dino.spread(model)
    model.save_pretrained(folder)
    processor = AutoProcessor.from_pretrained(POCKET / "detector")
    processor.image_processor.size = {"shortest_edge": 800, "longest_edge": 1333}
    processor.save_pretrained(folder)


def _sam2(folder: Path, config: Sam2Config) -> None:
    Sam2Model(config).save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor()).save_pretrained(folder)


def _sam3(folder: Path) -> None:
    tokenizer = tiny_sam3.tokenizer()
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text: Any = Sam3Config().text_config.to_dict() | ends
    model = Sam3Model(Sam3Config(text_config=text))
    torch.nn.init.normal_(model.detr_decoder.reference_points.weight)  # boxes all over the image
    model.save_pretrained(folder)
    Sam3Processor(Sam3ImageProcessor(), tokenizer).save_pretrained(folder)


def _small_dino(folder: Path) -> None:
    model = tiny_grounding_dino.tiny_model("grounding-dino")
    tiny_grounding_dino.save(folder, model, tiny_grounding_dino.processor())


_FULL: dict[str, Any] = {
    DINO_TINY: lambda folder: _dino(folder, GroundingDinoConfig()),
    DINO_BASE: lambda folder: _dino(folder, GroundingDinoConfig(backbone_config=SWIN_BASE)),
    SAM2_TINY: lambda folder: _sam2(folder, Sam2Config()),
    SAM2_LARGE: lambda folder: _sam2(folder, transformers_config("sam2.1_hiera_l.yaml")),
    SAM3: _sam3,
}
_SMALL: dict[str, Any] = {
    DINO_TINY: lambda folder: folder.symlink_to(POCKET / "detector"),
    DINO_BASE: _small_dino,
    SAM2_TINY: lambda folder: folder.symlink_to(POCKET / "segmenter"),
    SAM2_LARGE: tiny_sam2.tiny_checkpoint,
    SAM3: tiny_sam3.tiny_checkpoint,
}
