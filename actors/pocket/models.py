"""The two small architectures, their processors, and how they are stored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    PreTrainedModel,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
)
from transformers.models.sam2.modeling_sam2 import Sam2Attention

from .words import vocabulary

#: The detector's input: the short side in pixels unless the long one would pass its limit.
DETECTOR_SHORT, DETECTOR_LONG = 128, 160
#: How both processors normalise: ImageNet's mean and deviation of each channel.
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
#: The segmenter's input: a square of so many pixels; its masks have a quarter of that.
SEGMENTER_SIZE = 256


def detector_config() -> MMGroundingDinoConfig:
    """A Grounding DINO with the MM head, 1.4 M parameters.

    The backbone is a ConvNeXt because its LayerNorm trains; the library freezes BatchNorm, which
    makes a ResNet useless from scratch. Dropout is off: the scenes are endless.
    """
    backbone = {
        "model_type": "convnext",
        "hidden_sizes": [32, 64, 128, 192],
        "depths": [1, 2, 3, 1],
        "layer_scale_init_value": 0.0,
        "out_indices": [2, 3, 4],
    }
    text = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return MMGroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=64,
        num_queries=16,
        num_feature_levels=3,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=192,
        decoder_ffn_dim=192,
        dropout=0.0,
        fusion_droppath=0.0,
        class_cost=2.0,
        auxiliary_loss=True,
    )


def new_detector() -> MMGroundingDinoForObjectDetection:
    """The untrained detector, with the text side drawn wide enough to learn from the start.

    The library draws for fine-tuning: embeddings of std 0.02 make all words look alike, and a
    fusion scale of 1e-4 keeps the image from seeing the text for thousands of steps.
    """
    model = MMGroundingDinoForObjectDetection(detector_config())
    with torch.no_grad():
        nn.init.normal_(model.model.text_backbone.embeddings.word_embeddings.weight, std=1.0)
        nn.init.xavier_uniform_(model.model.text_projection.weight)
        for layer in model.model.encoder.layers:
            nn.init.constant_(layer.fusion_layer.vision_param, 0.1)
            nn.init.constant_(layer.fusion_layer.text_param, 0.1)
    return model


def tokenizer() -> BertTokenizer:
    """BERT's WordPiece over the pocket vocabulary; a foreign word falls into letters."""
    ids = {token: number for number, token in enumerate(vocabulary())}
    return BertTokenizer(vocab=ids, do_lower_case=True, model_max_length=256)


def detector_processor() -> GroundingDinoProcessor:
    """Resizing and padding as the library does it, at the pocket size, with the pocket words."""
    size = {"shortest_edge": DETECTOR_SHORT, "longest_edge": DETECTOR_LONG}
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer())


def segmenter_config() -> Sam2Config:
    """A SAM 2 of 0.9 M parameters: Hiera of five blocks, prompt and mask decoder of width 64.

    `dynamic_multimask_via_stability` is off: it would replace an unstable mask by one of the
    three multimask outputs, which boxes as prompts never train.
    """
    quarter = SEGMENTER_SIZE // 4
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 24,
        "image_size": [SEGMENTER_SIZE, SEGMENTER_SIZE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [24, 48, 96, 192],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 8, 4],
        "global_attention_blocks": [3],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [192, 96, 48, 24],
        "backbone_feature_sizes": [[quarter // n, quarter // n] for n in (1, 2, 4)],
        "fpn_hidden_size": 64,
    }
    prompt = {"hidden_size": 64, "image_size": SEGMENTER_SIZE}
    decoder = {
        "hidden_size": 64,
        "mlp_dim": 128,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": 64,
        "dynamic_multimask_via_stability": False,
    }
    return Sam2Config(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )


def segmenter_processor() -> Sam2Processor:
    """The library's processor at the pocket size."""
    square = {"height": SEGMENTER_SIZE, "width": SEGMENTER_SIZE}
    quarter = {"height": SEGMENTER_SIZE // 4, "width": SEGMENTER_SIZE // 4}
    return Sam2Processor(Sam2ImageProcessor(size=square, mask_size=quarter))


def new_segmenter() -> Sam2Model:
    """The untrained segmenter, drawn so that a box looks at its own place from the start.

    The library draws with std 0.02, which at width 64 leaves all attention uniform. Xavier wakes
    it, and equal query and key projections make a box's corner attend to where it lies, since
    prompts and image tokens carry the same positional code.
    """
    model = Sam2Model(segmenter_config())
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        for name, module in model.mask_decoder.named_modules():
            if isinstance(module, Sam2Attention) and not name.endswith("self_attn"):
                module.k_proj.weight.copy_(module.q_proj.weight)
    return model


def store(
    folder: Path,
    model: PreTrainedModel,
    processor: GroundingDinoProcessor | Sam2Processor,
    notes: dict[str, object],
) -> None:
    """Write a directory that ``from_pretrained`` reads: half-precision safetensors and processor.

    `config.json` says float32, so that the default load computes in float32: half precision is
    for storage, since a CPU has no use for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    model.float()
    # safetensors writes for the owner alone; the repository is for everybody.
    (folder / "model.safetensors").chmod(0o644)
    processor.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "recipe.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
