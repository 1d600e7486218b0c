"""Tokenises prompts and packs them into as few texts as the model's token limit allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from actors.failures import SetupError
from actors.ontology import normalised

#: Token ids at which the model's code ends phrases (`SPECIAL_TOKENS` in transformers' modeling
#: files). They are constants, independent of the tokenizer.
CLS, SEP, DOT, QUESTION = 101, 102, 1012, 1029


@dataclass
class PromptChunk:
    """The text of one forward pass: ``[CLS] red star . cat . [SEP]``.

    Attributes:
        input_ids: the tokens.
        prompts: index of each phrase among all prompts.
        spans: (start, stop) of each phrase's tokens; stop is exclusive, and the full stop is not
            included.
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
        """Weights, float32 (length, n_phrases), of the mean over each phrase's tokens."""
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
    """Pack phrases, in the given order, into as many texts as needed.

    Args:
        prompts: (class, prompt).
        tokenize: returns the token ids of a text, without special tokens.
        unknown: the id of [UNK].
        limit: the model's token limit, including [CLS] and [SEP].

    Raises:
        SetupError: a prompt exceeds the limit, contains a word outside the vocabulary, or has the
            same tokens as another prompt.
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
    """Record the prompt of these tokens. Raises SetupError if another prompt has the same."""
    owner = owners.setdefault(tuple(tokens), what)
    if owner is not what:
        raise SetupError(
            f"{what} has the same tokens as {owner}",
            "reword or remove one of the two in the ontology",
        )


def check_room(what: str, tokens: Sequence[int], room: int) -> None:
    """Raises SetupError if a prompt has more tokens than the model accepts."""
    if len(tokens) > room:
        raise SetupError(
            f"{what} has {len(tokens)} tokens; the model accepts at most {room}",
            "shorten it in the ontology",
        )


def _check(what: str, tokens: Sequence[int], unknown: int, limit: int) -> None:
    check_room(what, tokens, limit - 3)  # [CLS], the full stop and [SEP]
    if not tokens or unknown in tokens:
        raise SetupError(
            f"{what} cannot be tokenised with the model's vocabulary",
            "use words of the language of the model's training",
        )
