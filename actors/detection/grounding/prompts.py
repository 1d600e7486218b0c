"""Prompts as tokens: packed into as few texts as the model's limit allows, spans kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from actors.failures import SetupError
from actors.ontology import normalised

#: The token ids that the model's code takes for the ends of phrases (`SPECIAL_TOKENS` in
#: transformers' modeling files), whatever the tokenizer says.
CLS, SEP, DOT, QUESTION = 101, 102, 1012, 1029


@dataclass
class PromptChunk:
    """One text that the model reads in a single forward: ``[CLS] red star . cat . [SEP]``.

    Attributes:
        input_ids: the tokens.
        prompts: for each phrase its index among all prompts.
        spans: for each phrase its first token and the one behind its last; the full stop is out.
    """

    input_ids: list[int] = field(default_factory=lambda: [CLS, SEP])
    prompts: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def append(self, prompt: int, tokens: Sequence[int]) -> None:
        """Add a phrase before the closing [SEP]."""
        start = len(self.input_ids) - 1
        self.input_ids[start:] = [*tokens, DOT, SEP]
        self.prompts.append(prompt)
        self.spans.append((start, start + len(tokens)))

    def weights(self, length: int) -> Tensor:
        """(length, n_phrases) float32 that takes the mean over the tokens of each phrase."""
        weights = torch.zeros(length, len(self.spans))
        for phrase, (start, stop) in enumerate(self.spans):
            weights[start:stop, phrase] = 1.0 / (stop - start)
        return weights


def pack(
    prompts: Sequence[tuple[str, str]],
    tokenize: Callable[[str], list[int]],
    unknown: int,
    limit: int,
) -> list[PromptChunk]:
    """Phrases in the order given, in as many texts as needed.

    Args:
        prompts: (class, prompt).
        tokenize: token ids of a text, without special tokens around it.
        unknown: the id of [UNK].
        limit: tokens that the model reads, [CLS] and [SEP] included.

    Raises:
        SetupError: a prompt is longer than the limit, holds a word that the vocabulary cannot
            spell, or has the same tokens as another prompt.
    """
    chunks = [PromptChunk()]
    owners: dict[tuple[int, ...], str] = {}
    for index, (name, prompt) in enumerate(prompts):
        tokens = tokenize(normalised(prompt))
        what = f"prompt {prompt!r} of class {name!r}"
        _check(what, tokens, unknown, limit)
        claim(owners, tokens, what)
        if len(chunks[-1].input_ids) + len(tokens) + 1 > limit:
            chunks.append(PromptChunk())
        chunks[-1].append(index, tokens)
    return chunks


def claim(owners: dict[tuple[int, ...], str], tokens: Sequence[int], what: str) -> None:
    """Note whose tokens these are. Raises SetupError: another prompt has the same ones."""
    owner = owners.setdefault(tuple(tokens), what)
    if owner is not what:
        raise SetupError(
            f"{what} reads to the model like {owner}",
            "reword one of the two in the ontology, or drop it",
        )


def check_room(what: str, tokens: Sequence[int], room: int) -> None:
    """Raises SetupError: a prompt has more tokens than the model takes."""
    if len(tokens) > room:
        raise SetupError(
            f"{what} has {len(tokens)} tokens; the model takes {room}",
            "shorten it in the ontology",
        )


def _check(what: str, tokens: Sequence[int], unknown: int, limit: int) -> None:
    check_room(what, tokens, limit - 3)  # [CLS], the full stop and [SEP]
    if not tokens or unknown in tokens:
        raise SetupError(
            f"{what} cannot be spelled with the model's vocabulary",
            "use words of the language that the model was trained on",
        )
