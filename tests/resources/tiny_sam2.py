"""A small SAM 2 with random weights: the real classes, thin layers, 128 px."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

SIZE = 128


def tiny_config() -> Sam2Config:
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "image_size": [SIZE, SIZE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 4, 2],
        "global_attention_blocks": [3],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [128, 64, 32, 16],
        "backbone_feature_sizes": [[SIZE // 4] * 2, [SIZE // 8] * 2, [SIZE // 16] * 2],
        "fpn_hidden_size": 32,
    }
    decoder = {"hidden_size": 32, "mlp_dim": 2048}
    prompt = {"hidden_size": 32, "image_size": SIZE}
    return Sam2Config(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )


def scattered(model: Sam2Model, seed: int = 0) -> Sam2Model:
    """`model` with weights drawn wide enough for masks that depend on the image and the box."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval()


def tiny_processor() -> Sam2Processor:
    square = {"height": SIZE, "width": SIZE}
    return Sam2Processor(Sam2ImageProcessor(size=square))


def tiny_checkpoint(folder: Path, seed: int = 0) -> Path:
    """A directory that `from_pretrained` reads."""
    scattered(Sam2Model(tiny_config()), seed).save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder
