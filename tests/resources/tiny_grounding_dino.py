"""Small Grounding DINO checkpoints with random weights: the real classes, few and thin layers."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
)

WORDS = ("cat", "dog", "red", "blue", "car", "star", "remote", "control", "traffic", "light")
#: "hotdog" is spelled "hot ##dog": a class of two pieces that shares letters with "dog".
PIECES = ("hot", "##dog", "##s")


def vocabulary(size: int = 1030) -> list[str]:
    """A WordPiece vocabulary with BERT's ids for [CLS], [SEP], "." and "?"."""
    tokens = [f"[unused{number}]" for number in range(size)]
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    for number, token in {**fixed, 1012: ".", 1029: "?"}.items():
        tokens[number] = token
    letters = string.ascii_lowercase + string.digits
    known = [*letters, *(f"##{c}" for c in letters), *",-'!", *WORDS, *PIECES]
    tokens[200 : 200 + len(known)] = known
    return tokens


def tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={token: number for number, token in enumerate(vocabulary())})


def processor(shortest: int = 96, longest: int = 160) -> GroundingDinoProcessor:
    size = {"shortest_edge": shortest, "longest_edge": longest}
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer())


#: (config, model) by the name that a checkpoint's `model_type` has.
CLASSES: dict[str, tuple[Any, Any]] = {
    "grounding-dino": (GroundingDinoConfig, GroundingDinoForObjectDetection),
    "mm-grounding-dino": (MMGroundingDinoConfig, MMGroundingDinoForObjectDetection),
}


def tiny_model(kind: str, seed: int = 0, max_text_len: int = 256) -> Any:
    """`kind`: ``grounding-dino`` or ``mm-grounding-dino``. 0.5 M parameters, seeded."""
    config_class, model_class = CLASSES[kind]
    backbone = {
        "model_type": "swin",
        "embed_dim": 16,
        "depths": [1, 1, 2, 1],
        "num_heads": [1, 2, 2, 4],
        "window_size": 4,
        "image_size": 96,
        "out_indices": [2, 3, 4],
    }
    text = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    torch.manual_seed(seed)
    model = model_class(
        config_class(
            backbone_config=backbone,
            text_config=text,
            d_model=32,
            num_queries=20,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_text_len=max_text_len,
        )
    )
    spread(model)
    return model.eval()


def full_model(kind: str, seed: int = 0) -> Any:
    """The library's default of `kind`, which is grounding-dino-tiny: 172 M parameters, seeded."""
    config_class, model_class = CLASSES[kind]
    torch.manual_seed(seed)
    model = model_class(config_class())
    spread(model)
    return model.eval()


@torch.no_grad()
def spread(model: Any) -> None:
    """Random weights that tell things apart: wider where the library's are for fine-tuning.

    Grounding DINO's class logits are products that MM-Grounding-DINO divides by the root of their
    length; random ones would all come out as probabilities of exactly 0 or 1.
    """
    if model.config.model_type == "grounding-dino":
        torch.nn.init.constant_(model.model.decoder.layer_norm.weight, model.config.d_model**-0.5)
    torch.nn.init.normal_(model.model.text_backbone.embeddings.word_embeddings.weight)
    torch.nn.init.xavier_uniform_(model.model.text_projection.weight)
    for head in {id(head): head for head in model.bbox_embed}.values():
        for layer in head.layers:
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.normal_(layer.bias, std=0.5)
    for layer in model.model.encoder.layers:
        torch.nn.init.constant_(layer.fusion_layer.vision_param, 0.1)
        torch.nn.init.constant_(layer.fusion_layer.text_param, 0.1)


def save(folder: Path, model: Any, words: GroundingDinoProcessor) -> Path:
    """A checkpoint directory as `save_pretrained` writes it."""
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
