"""Tokenises an ontology's prompts for SAM 3, one text per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.detection.grounding.prompts import check_room, claim
from actors.failures import SetupError
from actors.phrases import normalised


@dataclass(frozen=True)
class Tokens:
    """One prompt, padded to the model's limit. `mask`: 1 for its tokens, 0 for the padding."""

    input_ids: list[int]
    mask: list[int]


def tokens_of(prompts: Sequence[tuple[str, str]], tokenizer: Any, limit: int) -> list[Tokens]:
    """The tokens of each prompt.

    The library pads but does not truncate; the text encoder fails on longer texts.

    Args:
        prompts: (class, prompt).
        tokenizer: the checkpoint's CLIPTokenizer.
        limit: the model's token limit, including start and end of text.

    Raises:
        SetupError: a prompt exceeds the limit, cannot be tokenised, or has the same tokens as
            another prompt.
    """
    read = []
    owners: dict[tuple[int, ...], str] = {}
    for name, prompt in prompts:
        what = f"prompt {prompt!r} of class {name!r}"
        words = tokenizer(normalised(prompt), add_special_tokens=False)["input_ids"]
        _check(what, words, tokenizer, limit)
        claim(owners, words, what)
        text = tokenizer(normalised(prompt), padding="max_length", max_length=limit)
        read.append(Tokens(text["input_ids"], text["attention_mask"]))
    return read


def _check(what: str, words: Sequence[int], tokenizer: Any, limit: int) -> None:
    check_room(what, words, limit - 2)  # start and end of text
    # CLIP uses one token for unknown text, padding and the end of the text.
    if not words or not {tokenizer.unk_token_id, tokenizer.bos_token_id}.isdisjoint(words):
        raise SetupError(
            f"{what} cannot be tokenised with the model's vocabulary",
            "use plain words; if that does not help, download the checkpoint's tokenizer again",
        )
