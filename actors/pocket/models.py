"""The two small architectures, their processors and their storage."""

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

#: The detector's input: its shorter side, and the limit of its longer side, in pixels.
DETECTOR_SHORT, DETECTOR_LONG = 128, 160
#: Normalisation of both processors: ImageNet's mean and standard deviation per channel.
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
#: Side of the segmenter's square input, in pixels; its masks have a quarter of it.
SEGMENTER_SIZE = 256


def detector_config() -> MMGroundingDinoConfig:
    """A Grounding DINO with the MM head, 1.4 M parameters.

    The backbone is a ConvNeXt, because its LayerNorm trains. The library freezes BatchNorm, so a
    ResNet cannot be trained from scratch. Dropout is off, because scenes are unlimited.
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
    """The untrained detector, with an initialisation for training from scratch.

    The library initialises for fine-tuning. Its embeddings with std 0.02 make all words similar,
    and its fusion scale of 1e-4 hides the text from the image for thousands of steps.
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
    """BERT's WordPiece with the pocket vocabulary; unknown words are split into letters."""
    ids = {token: number for number, token in enumerate(vocabulary())}
    return BertTokenizer(vocab=ids, do_lower_case=True, model_max_length=256)


def detector_processor() -> GroundingDinoProcessor:
    """The library's processor with the pocket size and vocabulary."""
    size = {"shortest_edge": DETECTOR_SHORT, "longest_edge": DETECTOR_LONG}
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer())


def segmenter_config() -> Sam2Config:
    """A SAM 2 of 0.9 M parameters: Hiera of five blocks, prompt and mask decoder of width 64.

    `dynamic_multimask_via_stability` is off. It replaces unstable masks by a multimask output, and
    training with box prompts does not train these outputs.
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
    """The untrained segmenter, initialised so that a box attends to its own place.

    The library initialises with std 0.02, which makes all attention uniform at width 64. We use
    Xavier instead. Prompts and image tokens have the same positional encoding, so equal query and
    key projections make a box's corner attend to its position.
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
    """Write a directory for ``from_pretrained``: half-precision safetensors and the processor.

    `config.json` has dtype float32, so that loaded models compute in float32. Half precision is
    only for storage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    model.float()
    # safetensors makes the file readable only for its owner.
    (folder / "model.safetensors").chmod(0o644)
    processor.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "recipe.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
