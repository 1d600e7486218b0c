"""CLIP and SigLIP of the real classes with random weights and a byte-level vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_screens import tokenizer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipProcessor,
)

_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
}
_SEEN = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def tiny_clip(folder: Path, *, siglip: bool = False) -> Path:
    torch.manual_seed(0)
    words = tokenizer()
    words.model_max_length = 77
    text = {**_TEXT, "vocab_size": len(words), "eos_token_id": words.eos_token_id}
    size = {"height": 32, "width": 32}
    if siglip:
        SiglipModel(SiglipConfig(text_config=text, vision_config=_SEEN)).save_pretrained(folder)
        images = SiglipImageProcessor(size=size)
        SiglipProcessor(image_processor=images, tokenizer=words).save_pretrained(folder)
        return folder
    config = CLIPConfig(text_config=text, vision_config=_SEEN, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size=size, crop_size=size)
    CLIPProcessor(image_processor=images, tokenizer=words).save_pretrained(folder)
    return folder
