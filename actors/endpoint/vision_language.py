"""A vision-language model that answers chats about pictures, in batches.

Any checkpoint that transformers calls image-text-to-text with a chat template: Qwen2.5-VL, Qwen3-VL
and the like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from actors.checkpoints import (
    checkpoint_folder,
    pick_device,
    pick_dtype,
    provenance_of,
    whole_model,
)
from actors.failures import SetupError
from actors.hub_model import HubModel


class VisionLanguageConfig(HubModel):
    """Which weights, and where they run."""

    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 on cuda, float32 on cpu"
    )


@dataclass(frozen=True)
class Question:
    """A chat whose contents are ``{"type": "text", "text": ...}`` and ``{"type": "image", "image":
    PIL image}``, and how many tokens its answer may have."""

    messages: list[dict[str, Any]]
    max_tokens: int


@dataclass(frozen=True)
class Generated:
    """What the model said. `finish_reason`: ``stop``, or ``length`` where it was cut off."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class VisionLanguage:
    """A loaded model."""

    def __init__(self, config: VisionLanguageConfig) -> None:
        """Raises SetupError: not there, damaged, incomplete, or no chat template."""
        self._device = pick_device(config.device)
        on_gpu = self._device.type == "cuda"
        dtype = pick_dtype(config.dtype, self._device)
        folder = checkpoint_folder(config.model, config.revision, config.local_files_only)
        transformers.utils.logging.disable_progress_bar()
        try:
            model = whole_model(
                AutoModelForImageTextToText, config.model, folder, getattr(torch, dtype)
            )
            self._processor: Any = AutoProcessor.from_pretrained(folder)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise SetupError(
                f"cannot load {config.model!r} from {folder}: {type(error).__name__}: {error}",
                "name a checkpoint of an image-text-to-text model, with its processor",
            ) from error
        if not self._processor.chat_template:
            raise SetupError(f"{config.model!r} has no chat template", "name an instruct model")
        # Padding behind a prompt would stand between it and its answer.
        self._processor.tokenizer.padding_side = "left"
        self._model: Any = model.to(self._device).eval()
        self.provenance = provenance_of(config.model, folder) | {
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "dtype": dtype,
            "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
        }

    @torch.inference_mode()
    def answer(self, questions: Sequence[Question]) -> list[Generated]:
        """One answer per question, greedily decoded, all in one batch."""
        inputs = self._processor.apply_chat_template(
            [question.messages for question in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._device)
        longest = max(question.max_tokens for question in questions)
        said = self._model.generate(**inputs, max_new_tokens=longest, do_sample=False)
        prompt = inputs["attention_mask"].sum(1).tolist()
        new = said[:, inputs["input_ids"].shape[1] :].cpu()
        return [
            self._answer(tokens, question.max_tokens, count)
            for tokens, question, count in zip(new, questions, prompt, strict=True)
        ]

    def _answer(self, tokens: Tensor, most: int, prompt_tokens: int) -> Generated:
        ends = torch.isin(tokens, torch.tensor(self._ends())).nonzero()
        end = int(ends[0]) if len(ends) else len(tokens)
        kept = tokens[: min(end, most)]
        # Whoever ended exactly at the limit was not cut off if the next token was the end.
        reason: Literal["stop", "length"] = "stop" if len(ends) and end <= most else "length"
        text = self._processor.tokenizer.decode(kept, skip_special_tokens=True)
        return Generated(text.strip(), reason, prompt_tokens, len(kept))

    def _ends(self) -> list[int]:
        """Ids of the tokens that end an answer."""
        ends = self._model.generation_config.eos_token_id
        if ends is None:
            ends = self._processor.tokenizer.eos_token_id
        return [ends] if isinstance(ends, int) else list(ends)
