"""Converts Meta's original SAM 2 checkpoints to the names of transformers' Sam2Model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import Sam2Config, Sam2HieraDetConfig, Sam2VisionConfig

#: The backbone in each of Meta's config files. All other values are equal in all of them, and are
#: the defaults of transformers' config classes. SAM 2 and 2.1 differ only in the video memory.
BACKBONES: dict[str, dict[str, Any]] = {
    "hiera_t": {"blocks_per_stage": [1, 2, 7, 2], "global_attention_blocks": [5, 7, 9]},
    "hiera_s": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "hiera_b+": {
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads": 2,
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "hiera_l": {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads": 2,
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}

CONFIG_NAMES = tuple(f"{sam}_{size}.yaml" for sam in ("sam2", "sam2.1") for size in BACKBONES)

#: Weights for video; the image model does not use them.
_VIDEO = re.compile(
    r"memory_(attention|encoder)\.|maskmem_tpos_enc|no_mem_pos_enc|no_obj_|mask_downsample\."
    r"|obj_ptr_"
)

_HEADS = r"(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)"

#: (pattern, replacement), applied in this order to every name.
_RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
        (r"^image_encoder\.neck\.convs\.(\d)\.conv\.", r"vision_encoder.neck.convs.\1."),
        (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
        (r"^no_mem_embed$", "no_memory_embedding"),
        (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
        (r"\.norm(\d|_)", r".layer_norm\1"),
        (r"\.out_proj\.", ".o_proj."),
        (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
        (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
        (rf"\.{_HEADS}\.layers\.0\.", r".\1.proj_in."),
        (rf"\.{_HEADS}\.layers\.1\.", r".\1.layers.0."),
        (rf"\.{_HEADS}\.layers\.2\.", r".\1.proj_out."),
        (r"\.output_upscaling\.0\.", ".upscale_conv1."),
        (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
        (r"\.output_upscaling\.3\.", ".upscale_conv2."),
        (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
        (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
        (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
        (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
        (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
        (
            r"\.pe_layer\.positional_encoding_gaussian_matrix$",
            ".shared_embedding.positional_embedding",
        ),
    )
)

_POSITIONS = "prompt_encoder.shared_embedding.positional_embedding"
_POINTS = re.compile(r"prompt_encoder\.point_embeddings\.(\d)\.weight")


def transformers_config(config_name: str) -> Sam2Config:
    """The architecture of one of `CONFIG_NAMES`. Raises KeyError."""
    backbone = Sam2HieraDetConfig(**BACKBONES[config_name.removesuffix(".yaml").split("_", 1)[1]])
    widths: Any = backbone.embed_dim_per_stage
    return Sam2Config(
        vision_config=Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1])
    )


def transformers_state(meta: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image part of Meta's state dict, with the names of `Sam2Model.state_dict`.

    Unknown names are kept, so that loading with ``strict=True`` reports them.
    """
    state: dict[str, Tensor] = {}
    points: dict[int, Tensor] = {}
    for name, weight in meta.items():
        if _VIDEO.match(name):
            continue
        for pattern, replacement in _RENAMES:
            name = pattern.sub(replacement, name)
        if point := _POINTS.fullmatch(name):
            points[int(point[1])] = weight
        else:
            state[name] = weight
    if points:  # Meta stores one table with a single row per kind of point
        state["prompt_encoder.point_embed.weight"] = torch.cat([points[i] for i in sorted(points)])
    if _POSITIONS in state:  # one matrix in Meta's code, two buffers in transformers'
        state["shared_image_embedding.positional_embedding"] = state[_POSITIONS].clone()
    return state
