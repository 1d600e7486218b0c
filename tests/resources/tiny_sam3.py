"""A small SAM 3 with random weights: the real classes, thin layers, 112 px."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer, Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

SIZE = 112  # eight patches of 14 px each way: four windows of 4 x 4
QUERIES = 40
WORDS = ("cat", "dog", "red", "car", "truck", "couch", "sofa")


def tokenizer() -> CLIPTokenizer:
    """Every byte, alone and at the end of a word, and merges that make `WORDS` one token each."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        whole = word[0]
        for place, letter in enumerate(word[1:], start=1):
            piece = letter + ("</w>" if place == len(word) - 1 else "")
            merges.append((whole, piece))
            whole += piece
            tokens.append(whole)
    tokens = list(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=list(dict.fromkeys(merges)))


def tiny_config() -> Sam3Config:
    words = tokenizer()
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "pretrain_image_size": SIZE // 2,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    side = SIZE // 14
    vision = {
        "backbone_config": backbone,
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[4 * side] * 2, [2 * side] * 2, [side] * 2],
    }
    text = {
        "model_type": "clip_text_model",
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "hidden_act": "gelu",
    }
    thin = {"hidden_size": 32, "num_attention_heads": 4}
    layers = {**thin, "num_layers": 2, "intermediate_size": 64}
    return Sam3Config(
        vision_config=vision,
        text_config=text,
        geometry_encoder_config={**layers, "num_layers": 1},
        detr_encoder_config=layers,
        detr_decoder_config={**layers, "num_queries": QUERIES},
        mask_decoder_config=thin,
    )


def scattered(config: Sam3Config, seed: int = 0, width: float = 0.2) -> Sam3Model:
    """A model with weights drawn wide enough for answers that depend on image and prompt."""
    torch.manual_seed(seed)
    model = Sam3Model(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * width)
        model.detr_decoder.reference_points.weight.normal_()
    return model.eval()


def tiny_processor(size: int = SIZE) -> Sam3Processor:
    square = {"height": size, "width": size}
    return Sam3Processor(Sam3ImageProcessor(size=square), tokenizer())


def tiny_checkpoint(folder: Path, seed: int = 4) -> Path:
    """A directory that `from_pretrained` reads. Seed 4 finds 0 to 40 of each prompt in an image."""
    scattered(tiny_config(), seed).save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder
