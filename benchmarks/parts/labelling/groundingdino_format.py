"""Convert a Grounding DINO checkpoint of transformers to the format of IDEA-Research's package.

autodistill uses that package, whose format is a state dict and a Python file of settings. Weights
are renamed and never changed; the package stores the projections of queries, keys and values as one
matrix, in this order. `labelling_peers.py` measures how far the converted model's answers differ.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertModel

#: The folder of autodistill-grounding-dino's checkpoint, relative to the home folder.
CACHE = Path(".cache/autodistill/groundingdino")
SETTINGS, WEIGHTS, TEXT = "GroundingDINO_SwinT_OGC.py", "groundingdino_swint_ogc.pth", "bert"

#: (width, blocks of each stage, side of a window) -> the package's name of the backbone.
BACKBONES = {
    (96, (2, 2, 6, 2), 7): "swin_T_224_1k",
    (128, (2, 2, 18, 2), 12): "swin_B_384_22k",
}

#: Weights without a counterpart or effect: a norm that no feature passes through, and indices that
#: follow from shapes.
UNUSED = re.compile(r"\.(swin\.layernorm\.|position_ids$|relative_position_index$)")
#: Three matrices in transformers, one in the package. BERT is the same in both.
PARTS = re.compile(r"(?!bert\.)(.+)\.(query|key|value)\.(weight|bias)")
ORDER = {"query": 0, "key": 1, "value": 2}

_BACKBONE = (
    (r"^model\.backbone\.conv_encoder\.model\.", "backbone.0."),
    (r"^(backbone\.0\.)embeddings\.patch_embeddings\.projection\.", r"\1patch_embed.proj."),
    (r"^(backbone\.0\.)embeddings\.norm\.", r"\1patch_embed.norm."),
    (r"^(backbone\.0\.)encoder\.", r"\1"),
    (r"^(backbone\.0\.)hidden_states_norms\.stage2\.", r"\1norm1."),
    (r"^(backbone\.0\.)hidden_states_norms\.stage3\.", r"\1norm2."),
    (r"^(backbone\.0\.)hidden_states_norms\.stage4\.", r"\1norm3."),
    (r"^(backbone.+)\.layernorm_before\.", r"\1.norm1."),
    (r"^(backbone.+)\.layernorm_after\.", r"\1.norm2."),
    (r"^(backbone.+)\.attention\.output\.dense\.", r"\1.attn.proj."),
    (r"^(backbone.+)\.attention\.self\.(query|key|value)\.", r"\1.attn.qkv.\2."),
    (r"^(backbone.+)\.attention\.self\.", r"\1.attn."),
    (r"^(backbone.+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
    (r"^(backbone.+)\.output\.dense\.", r"\1.mlp.fc2."),
)
_ENCODER = (
    (r"^model\.encoder\.layers\.(\d+)\.deformable_layer\.", r"transformer.encoder.layers.\1."),
    (r"^model\.encoder\.(layers\.\d+)\.text_enhancer_layer\.", r"transformer.encoder.text_\1."),
    (r"^model\.encoder\.(layers\.\d+)\.fusion_layer\.", r"transformer.encoder.fusion_\1."),
    (r"(encoder\.layers.+)\.self_attn_layer_norm\.", r"\1.norm1."),
    (r"(encoder\.layers.+)\.final_layer_norm\.", r"\1.norm2."),
    (r"(text_layers.+)\.layer_norm_before\.", r"\1.norm1."),
    (r"(text_layers.+)\.layer_norm_after\.", r"\1.norm2."),
    (r"(fusion_layers.+)\.vision_param$", r"\1.gamma_v"),
    (r"(fusion_layers.+)\.text_param$", r"\1.gamma_l"),
    (r"(fusion_layers.+layer_norm_)vision\.", r"\1v."),
    (r"(fusion_layers.+layer_norm_)text\.", r"\1l."),
    (r"(fusion_layers.+\.attn\.\w*)vision_proj\.", r"\1v_proj."),
    (r"(fusion_layers.+\.attn\.\w*)text_proj\.", r"\1l_proj."),
)
_DECODER = (
    (r"^model\.decoder\.", "transformer.decoder."),
    (r"(decoder\.layers.+)\.encoder_attn_text_layer_norm\.", r"\1.catext_norm."),
    (r"(decoder\.layers.+)\.encoder_attn_text\.", r"\1.ca_text."),
    (r"(decoder\.layers.+)\.encoder_attn_layer_norm\.", r"\1.norm1."),
    (r"(decoder\.layers.+)\.encoder_attn\.", r"\1.cross_attn."),
    (r"(decoder\.layers.+)\.self_attn_layer_norm\.", r"\1.norm2."),
    (r"(decoder\.layers.+)\.final_layer_norm\.", r"\1.norm3."),
    (r"(decoder)\.layer_norm\.", r"\1.norm."),
    (r"(decoder)\.reference_points_head\.", r"\1.ref_point_head."),
    (r"^(transformer.+\.)fc([12])\.", r"\1linear\2."),  # also in the encoder's layers
)
_REST = (
    (r"^model\.encoder_output_bbox_embed\.", "transformer.enc_out_bbox_embed."),
    (r"^model\.query_position_embeddings\.", "transformer.tgt_embed."),
    (r"^model\.(enc_output|enc_output_norm)\.", r"transformer.\1."),
    (r"^model\.level_embed$", "transformer.level_embed"),
    (r"^model\.input_proj_vision\.", "input_proj."),
    (r"^model\.text_projection\.", "feat_map."),
    (r"^model\.text_backbone\.", "bert."),
)
RENAMED = [(re.compile(old), new) for old, new in (*_BACKBONE, *_ENCODER, *_DECODER, *_REST)]


def write_home(checkpoint: Path, home: Path) -> None:
    """Write the checkpoint to the folder that autodistill reads when HOME is `home`.

    Args:
        checkpoint: folder from `save_pretrained` of a GroundingDinoForObjectDetection and its
            processor, with one file of weights.

    Raises:
        ValueError: the package lacks the backbone, or has no place for a weight.
    """
    cache = (home / CACHE).resolve()
    cache.mkdir(parents=True)
    config = json.loads((checkpoint / "config.json").read_text())
    (cache / SETTINGS).write_text(settings(config, cache / TEXT))
    weights = state_dict(load_file(checkpoint / "model.safetensors"))
    torch.save({"model": weights}, cache / WEIGHTS)
    # The package loads the text encoder from a separate folder. Its pooler is unused.
    bert = BertModel(BertConfig.from_dict(config["text_config"]))
    own = {name[5:]: value for name, value in weights.items() if name.startswith("bert.")}
    lost = bert.load_state_dict(own, strict=False).unexpected_keys
    if lost:
        raise ValueError(f"BERT has no weights named {', '.join(lost)}")
    bert.save_pretrained(cache / TEXT)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(cache / TEXT)


def state_dict(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The package's state dict for the weights of a GroundingDinoForObjectDetection.

    Raises ValueError for an unknown name.
    """
    found: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for name, value in weights.items():
        if not UNUSED.search(name):
            theirs, part = their_name(name)
            found[theirs][part] = value
    return {name: _joined(parts) for name, parts in found.items()}


def their_name(name: str) -> tuple[str, int]:
    """The package's name of a weight, and its index within a joined matrix (0 if not joined)."""
    for old, new in RENAMED:
        name = old.sub(new, name)
    if name.startswith("model."):
        raise ValueError(f"the package has no place for {name}")
    one = PARTS.fullmatch(name)
    if not one:
        return name, 0
    owner, part, kind = one.groups()
    whole = f"{owner}.{kind}" if owner.endswith(".qkv") else f"{owner}.in_proj_{kind}"
    return whole, ORDER[part]


def _joined(parts: dict[int, Tensor]) -> Tensor:
    return torch.cat([parts[i] for i in sorted(parts)]) if len(parts) > 1 else parts[0]


def settings(config: dict[str, Any], text: Path) -> str:
    """The package's settings file. `text`: folder of the text encoder.

    Raises ValueError for a backbone that the package lacks.
    """
    swin = config["backbone_config"]
    shape = (swin["embed_dim"], tuple(swin["depths"]), swin["window_size"])
    if shape not in BACKBONES:
        raise ValueError(
            f"the package has no Swin of {shape}, only {', '.join(BACKBONES.values())}"
        )
    heat = config["positional_embedding_temperature"]
    known = {
        "batch_size": 1,
        "modelname": "groundingdino",
        "backbone": BACKBONES[shape],
        "position_embedding": "sine",
        "pe_temperatureH": heat,
        "pe_temperatureW": heat,
        "return_interm_indices": [1, 2, 3],
        "backbone_freeze_keywords": None,
        "enc_layers": config["encoder_layers"],
        "dec_layers": config["decoder_layers"],
        "pre_norm": False,
        "dim_feedforward": config["encoder_ffn_dim"],
        "hidden_dim": config["d_model"],
        "dropout": 0.0,
        "nheads": config["encoder_attention_heads"],
        "num_queries": config["num_queries"],
        "query_dim": 4,
        "num_patterns": 0,
        "num_feature_levels": config["num_feature_levels"],
        "enc_n_points": config["encoder_n_points"],
        "dec_n_points": config["decoder_n_points"],
        "two_stage_type": "standard",
        "two_stage_bbox_embed_share": False,
        "two_stage_class_embed_share": False,
        "transformer_activation": config["activation_function"],
        "dec_pred_bbox_embed_share": config["decoder_bbox_embed_share"],
        "dn_box_noise_scale": 1.0,
        "dn_label_noise_ratio": 0.5,
        "dn_label_coef": 1.0,
        "dn_bbox_coef": 1.0,
        "embed_init_tgt": config["embedding_init_target"],
        "dn_labelbook_size": 2000,
        "max_text_len": config["max_text_len"],
        "text_encoder_type": str(text),
        "use_text_enhancer": True,
        "use_fusion_layer": True,
        "use_checkpoint": True,
        "use_transformer_ckpt": True,
        "use_text_cross_attention": True,
        "text_dropout": 0.0,
        "fusion_dropout": 0.0,
        "fusion_droppath": 0.1,
        "sub_sentence_present": True,
    }
    return "".join(f"{name} = {value!r}\n" for name, value in known.items())
