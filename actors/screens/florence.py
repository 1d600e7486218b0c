"""Captions of icons with Florence-2, in batches over all screenshots.

OmniParser's captioner was saved by Microsoft's remote code. We do not run that code. We rename its
weights to those of transformers' Florence2ForConditionalGeneration (the names are listed in
transformers' `convert_florence2_original_pytorch_to_hf.py`). Image and text embeddings are
concatenated, so no image token is needed and the vocabulary is unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    BartConfig,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2VisionConfig,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from actors.checkpoints import digest, load_faults
from actors.failures import SetupError
from actors.loading import whole_model

#: The training prompt of Florence-2's task <CAPTION>.
PROMPT = "What does the image describe?"
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)

#: (pattern, replacement), applied in this order to every name.
_RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vision_tower\.convs\.(\d+)\.proj\.", r"vision_tower.convs.\1.conv."),
        (r"_block\.(conv\d)\.fn\.dw\.", r"_block.\1."),
        (r"\.(window|channel)_attn\.norm\.", ".norm1."),
        (r"\.(window|channel)_attn\.fn\.", r".\1_attn."),
        (r"\.ffn\.norm\.", ".norm2."),
        (r"\.ffn\.fn\.net\.", ".ffn."),
        (r"^image_projection$", "multi_modal_projector.image_projection.weight"),
        (r"^image_pos_embed\.", "image_position_embed."),
        (
            r"^(image_proj_norm|image_position_embed|visual_temporal_embed)\.",
            r"multi_modal_projector.\1.",
        ),
        (r"^language_model\.model\.", "language_model."),
        (r"^(vision_tower|multi_modal_projector|language_model\.(?!lm_head))", r"model.\1"),
        (r"^language_model\.lm_head\.", "lm_head."),
    )
)
_BIAS = "language_model.final_logits_bias"  # zero in every published checkpoint


class Captioner:
    """A loaded Florence-2."""

    def __init__(
        self,
        folder: Path,
        tokenizer: str | None,
        side: int,
        tokens: int,
        device: torch.device,
        local_files_only: bool = False,
    ) -> None:
        """
        Args:
            folder: config.json and model.safetensors, with Microsoft's or transformers' names.
            tokenizer: directory or hub id of the tokenizer; None: `folder`.
            side: icons are resized to squares of this many pixels, a multiple of 32.
            tokens: maximum tokens of a caption.
            device: the dtype is float16 on cuda, as in OmniParser, else float32.
            local_files_only: do not download the tokenizer.

        Raises SetupError.
        """
        transformers.utils.logging.disable_progress_bar()
        self._side, self._tokens, self._device = side, tokens, device
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        self._model: Any = _model(folder).to(device, dtype).eval()
        self._tokenizer: Any = _tokenizer(folder, tokenizer, local_files_only)
        words = self._tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
        begin, end = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        self._prompt = torch.tensor([[begin, *words, end]], device=device)
        self._special = torch.tensor(self._tokenizer.all_special_ids)
        self.provenance = {
            "captioner": folder.name,
            "captioner_sha256": digest(folder.glob("*.safetensors")),
            "captioner_engine": f"transformers {transformers.__version__}",
            "captioner_licence": "MIT",
        }

    @torch.inference_mode()
    def __call__(self, icons: Sequence[npt.NDArray[np.uint8]]) -> list[tuple[str, float | None]]:
        """(caption, mean probability of its tokens) of each RGB image (h, w, 3), in one batch.

        Greedy decoding makes a caption independent of the other icons in the batch, apart from
        rounding. An empty caption has no probability.
        """
        pixels = np.stack([self._square(icon) for icon in icons])
        dtype = next(self._model.parameters()).dtype
        seen = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self._device, dtype)
        pictures = self._model.get_image_features(pixel_values=seen).pooler_output
        words = self._model.get_input_embeddings()(self._prompt).expand(len(icons), -1, -1)
        asked = torch.cat([pictures.to(words.dtype), words], dim=1)
        # All prompts have equal length, so there is no padding to mask.
        mask = torch.ones(asked.shape[:2], dtype=torch.long, device=self._device)
        said = self._model.generate(
            encoder_outputs=self._model.get_encoder()(inputs_embeds=asked, attention_mask=mask),
            attention_mask=mask,
            max_new_tokens=self._tokens,
            num_beams=1,
            do_sample=False,
            early_stopping=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        logits = torch.stack(said.logits, dim=1).float()
        new = said.sequences[:, -logits.shape[1] :]
        probability = logits.softmax(-1).gather(2, new[..., None])[..., 0].cpu()
        return [self._caption(*one) for one in zip(new.cpu(), probability, strict=True)]

    def _square(self, icon: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Resize to a square, as in OmniParser, and normalise with ImageNet's statistics."""
        small = cv2.resize(icon, (self._side, self._side))
        return (np.asarray(small, np.float32) / np.float32(255) - _MEAN) / _STD

    def _caption(self, tokens: Tensor, probability: Tensor) -> tuple[str, float | None]:
        words = ~torch.isin(tokens, self._special)
        text = self._tokenizer.decode(tokens[words]).strip()
        mean = float(probability[words].mean()) if words.any() else None
        return text, mean if text and mean is not None and np.isfinite(mean) else None


def _model(folder: Path) -> Any:
    remedy = "download config.json, generation_config.json and model.safetensors again"
    with load_faults("the Florence-2 captioner", folder, remedy):
        config = json.loads((folder / "config.json").read_text())
        if "dim_embed" not in config.get("vision_config", {}):
            model = whole_model(Florence2ForConditionalGeneration, folder.name, folder)
        else:
            model = _converted(folder, config)
    return model


def _converted(folder: Path, config: Mapping[str, Any]) -> Any:
    """The model from weights with Microsoft's names.

    Raises RuntimeError if a weight is missing or has a wrong size.
    """
    with torch.device("meta"):
        model: Any = Florence2ForConditionalGeneration(_own_config(config))
    state = own_names(load_file(folder / "model.safetensors"))
    shared = state["model.language_model.shared.weight"]
    tied = ("lm_head", "model.language_model.encoder.embed_tokens",
            "model.language_model.decoder.embed_tokens")  # fmt: skip
    for name in tied:
        state.setdefault(f"{name}.weight", shared)
    model.load_state_dict(state, strict=True, assign=True)
    model.tie_weights()
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Microsoft's weights with the names of transformers' Florence2ForConditionalGeneration.

    Raises ValueError if the logits bias is not zero, because transformers has no such bias.
    """
    named: dict[str, Tensor] = {}
    for name, weight in state.items():
        if name == _BIAS:
            if weight.any():
                raise ValueError(f"{_BIAS} is not zero")
            continue
        for pattern, replacement in _RENAMES:
            name = pattern.sub(replacement, name)
        # Microsoft multiplies from the right; transformers has a linear layer.
        transposed = name.endswith("image_projection.weight")
        named[name] = (weight.T if transposed else weight).float().contiguous()
    return named


def _own_config(config: Mapping[str, Any]) -> Florence2Config:
    vision, text = dict(config["vision_config"]), config["text_config"]
    known = Florence2VisionConfig().to_dict().keys() - {"model_type"}
    own = {name: value for name, value in vision.items() if name in known}
    own["embed_dim"] = vision["dim_embed"]
    own["max_position_embeddings"] = vision["image_pos_embed"]["max_pos_embeddings"]
    own["max_temporal_embeddings"] = vision["visual_temporal_embedding"]["max_temporal_embeddings"]
    words = BartConfig().to_dict().keys() - {"model_type"}
    bart = BartConfig(**{name: value for name, value in text.items() if name in words})
    return Florence2Config(vision_config=Florence2VisionConfig(**own), text_config=bart)


def _tokenizer(folder: Path, name: str | None, local_files_only: bool) -> Any:
    """The tokenizer from its file, without a config that could name remote code.

    The file may lack the special tokens, so BART's are set here. Raises SetupError.
    """
    try:
        return PreTrainedTokenizerFast.from_pretrained(
            name or folder,
            local_files_only=local_files_only,
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            unk_token="<unk>",
        )
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(
            f"cannot load Florence-2's tokenizer from {name or folder}: "
            f"{type(error).__name__}: {error}",
            "OmniParser's weights do not include a tokenizer: set `tokenizer` to "
            "microsoft/Florence-2-base, or to a directory with its tokenizer.json",
        ) from error
