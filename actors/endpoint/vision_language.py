"""A vision-language model that answers chats about images, in batches.

It runs any image-text-to-text checkpoint of transformers with a chat template, e.g. Qwen2.5-VL or
Qwen3-VL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers
from pydantic import Field
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from actors.checkpoints import CHAT_FILES, pick_placement
from actors.failures import SetupError
from actors.hub_model import HubModel
from actors.loading import Family

FAMILY = Family(
    AutoModelForImageTextToText,
    AutoProcessor,
    "set `model` to an image-text-to-text checkpoint with a processor",
    files=CHAT_FILES,
)


class VisionLanguageConfig(HubModel):
    """The checkpoint, its device and its dtype."""

    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 on cuda, float32 on cpu"
    )


@dataclass(frozen=True)
class Question:
    """A chat and the maximum number of tokens of its answer.

    Its contents are ``{"type": "text", "text": ...}`` and
    ``{"type": "image", "image": PIL image}``.
    """

    messages: list[dict[str, Any]]
    max_tokens: int


@dataclass(frozen=True)
class Generated:
    """The model's answer. `finish_reason`: ``stop``, or ``length`` if it was cut off."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class VisionLanguage:
    """A loaded model."""

    def __init__(self, config: VisionLanguageConfig) -> None:
        """Raises SetupError if the checkpoint is missing, damaged or incomplete, or if it has no
        chat template."""
        place = pick_placement(config.device, config.dtype)
        loaded = FAMILY.load(config, place.dtype)
        self._processor: Any = loaded.processor
        if not self._processor.chat_template:
            raise SetupError(
                f"{config.model!r} has no chat template",
                "set `model` to an instruction-tuned checkpoint",
            )
        # Padding on the right would separate the prompt from its answer.
        self._processor.tokenizer.padding_side = "left"
        self._device = place.device
        self._model: Any = loaded.model.to(place.device)
        self.provenance = loaded.provenance | place.provenance(transformers)

    @torch.inference_mode()
    def answer(self, questions: Sequence[Question]) -> list[Generated]:
        """One answer per question, with greedy decoding, all in one batch."""
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
        # An answer of exactly `most` tokens is complete if the next token is an end token.
        reason: Literal["stop", "length"] = "stop" if len(ends) and end <= most else "length"
        text = self._processor.tokenizer.decode(kept, skip_special_tokens=True)
        return Generated(text.strip(), reason, prompt_tokens, len(kept))

    def _ends(self) -> list[int]:
        """Ids of the tokens that end an answer."""
        ends = self._model.generation_config.eos_token_id
        if ends is None:
            ends = self._processor.tokenizer.eos_token_id
        return [ends] if isinstance(ends, int) else list(ends)
