"""OmniParser's weights in its own layout, small: an icon detector that finds red cells, and a
Florence-2 of the real class with random weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from transformers import (
    BartConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2VisionConfig,
    PreTrainedTokenizerFast,
)

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


class RedCells(nn.Module):
    """Answers as OmniParser's third detector does: six tensors, coarser levels empty.

    A cell of 8 x 8 pixels scores sigmoid(8 * (red - green) - 4); its box reaches one cell from its
    centre, so that it is 16 x 16 pixels.
    """

    def forward(self, pixels: Tensor) -> list[Tensor]:
        out: list[Tensor] = []
        for stride in (8, 16, 32):
            cells = nn.functional.avg_pool2d(pixels, stride)
            logits = 8 * (cells[:, 0:1] - cells[:, 1:2]) - 4
            if stride > 8:
                logits = torch.full_like(logits, -20.0)
            out.append(logits)
            out.append(torch.ones_like(cells[:, 0:1]).expand(-1, 4, -1, -1))
        return out


class Wrong(nn.Module):
    """Another network."""

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return [pixels]


def save_detector(folder: Path, module: nn.Module | None = None) -> Path:
    path = folder / "icon_detect_v3" / "model.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.script(module or RedCells()).save(str(path))
    return path


def save_ultralytics_detector(folder: Path) -> Path:
    """The second version's kind of file, random weights, one class; scores are what they are."""
    import tiny_yolo
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=1, verbose=False).eval()
    model.names = {0: "icon"}
    path = folder / "icon_detect" / "model.pt"
    path.parent.mkdir(parents=True)
    return tiny_yolo.save(path, model)


def tokenizer() -> PreTrainedTokenizerFast:
    ids = {token: n for n, token in enumerate([*SPECIAL, *sorted(ByteLevel.alphabet())])}
    inner = Tokenizer(models.BPE(vocab=ids, merges=[]))
    inner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", pad_token="<pad>", eos_token="</s>",
        unk_token="<unk>",
    )  # fmt: skip


def florence(words: dict[str, Any] | None = None, **vision: Any) -> Any:
    """Random weights, drawn wide, so that captions differ by picture."""
    torch.manual_seed(2)
    seen = {
        "depths": (1, 1, 1, 1),
        "embed_dim": (8, 16, 32, 64),
        "num_heads": (1, 2, 4, 8),
        "num_groups": (1, 2, 4, 8),
        "window_size": 4,
        "projection_dim": 32,
        "initializer_range": 0.3,
    }
    said = {
        "vocab_size": len(tokenizer()),
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "init_std": 0.3,
    }
    config = Florence2Config(
        vision_config=Florence2VisionConfig(**{**seen, **vision}),
        text_config=BartConfig(**{**said, **(words or {})}),
    )
    return Florence2ForConditionalGeneration(config).eval()


def save_captioner(folder: Path, model: Any, *, original: bool) -> Path:
    """As transformers saves it, or as Microsoft's remote code did (`original`)."""
    place = folder / "icon_caption"
    place.mkdir(parents=True, exist_ok=True)
    tokenizer().save_pretrained(place)
    if not original:
        model.save_pretrained(place)
        return place
    config = model.config.to_dict()
    seen = config["vision_config"]
    seen["model_type"] = "davit"
    seen["dim_embed"] = seen.pop("embed_dim")
    seen["image_pos_embed"] = {"max_pos_embeddings": seen.pop("max_position_embeddings")}
    seen["visual_temporal_embedding"] = {
        "max_temporal_embeddings": seen.pop("max_temporal_embeddings")
    }
    config["text_config"]["model_type"] = "florence2_language"
    (place / "config.json").write_text(json.dumps(config))
    state = {original_name(name): weight for name, weight in model.state_dict().items()}
    state["image_projection"] = state["image_projection"].T
    state["language_model.final_logits_bias"] = torch.zeros(1, len(tokenizer()))
    whole = {name: weight.clone().contiguous() for name, weight in state.items()}
    save_file(whole, place / "model.safetensors")
    return place


def original_name(name: str) -> str:
    """What Microsoft's code calls a weight, by the table in transformers'
    `convert_florence2_original_pytorch_to_hf.py`."""
    name = name.removeprefix("model.")
    if name.startswith("vision_tower.convs."):
        return name.replace(".conv.", ".proj.")
    block = re.fullmatch(r"(vision_tower\.blocks\.\d+\.\d+\.(spatial|channel)_block)\.(.+)", name)
    if block:
        attention = {"spatial": "window_attn", "channel": "channel_attn"}[block[2]]
        part, _, rest = block[3].partition(".")
        inner = {
            "conv1": "conv1.fn.dw",
            "conv2": "conv2.fn.dw",
            "norm1": f"{attention}.norm",
            "norm2": "ffn.norm",
            "ffn": "ffn.fn.net",
            attention: f"{attention}.fn",
        }[part]
        return f"{block[1]}.{inner}.{rest}"
    if name.startswith("multi_modal_projector."):
        name = name.removeprefix("multi_modal_projector.")
        name = name.replace("image_position_embed", "image_pos_embed")
        return "image_projection" if name == "image_projection.weight" else name
    if name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    return f"language_model.{name}"  # lm_head


#: microsoft/Florence-2-base.
BASE_VISION = {
    "depths": (1, 1, 9, 1),
    "embed_dim": (128, 256, 512, 1024),
    "num_heads": (4, 8, 16, 32),
    "num_groups": (4, 8, 16, 32),
    "window_size": 12,
    "projection_dim": 768,
    "initializer_range": 0.02,
}
BASE_WORDS = {
    "d_model": 768,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
    "encoder_attention_heads": 12,
    "decoder_attention_heads": 12,
    "vocab_size": 51289,
    "init_std": 0.02,
}


class YoloV9E(nn.Module):
    """The real architecture with random weights (ultralytics' config of it), and the outputs of
    OmniParser's file: logits and distances of each level."""

    def __init__(self) -> None:
        super().__init__()
        from actors.detection.closed_set.library import ultralytics

        ultralytics()
        from ultralytics.nn.tasks import DetectionModel

        self.inner = DetectionModel("yolov9e.yaml", nc=1, verbose=False).eval()
        self.head = self.inner.model[-1]
        self.inner.model[-1] = _Features(self.head)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        out: list[Tensor] = self.inner(pixels)
        return out


class _Features(nn.Module):
    """The head without its decoding."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head, self.f, self.i, self.type = head, head.f, head.i, head.type

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        out = []
        for n, features in enumerate(levels):
            sides = self.head.cv2[n](features)
            distances = sides.unflatten(1, (4, -1)).softmax(2)
            steps = torch.arange(distances.shape[2], dtype=sides.dtype).view(1, 1, -1, 1, 1)
            out += [self.head.cv3[n](features), (distances * steps).sum(2)]
        return out
