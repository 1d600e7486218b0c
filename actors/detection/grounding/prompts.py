"""Tokenises prompts and packs them into as few texts as the model's token limit allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import torch
from torch import Tensor

from actors.failures import SetupError
from actors.phrases import has_word, normalised

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
        words: the tokens of each phrase that hold a letter or a digit, as places in `input_ids`.
    """

    input_ids: list[int] = field(default_factory=lambda: [CLS, SEP])
    prompts: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    words: list[list[int]] = field(default_factory=list)

    def append(self, prompt: int, tokens: Sequence[int], marks: Set[int]) -> None:
        """Add a phrase before the closing [SEP]. `marks`: the ids of punctuation."""
        start = len(self.input_ids) - 1
        self.input_ids[start:] = [*tokens, DOT, SEP]
        self.prompts.append(prompt)
        self.spans.append((start, start + len(tokens)))
        self.words.append([start + n for n, token in enumerate(tokens) if token not in marks])

    def weights(self, length: int) -> Tensor:
        """Weights, float32 (length, n_phrases), of the mean over each phrase's words.

        Punctuation has weight 0: the hyphen of "t-shirt" fires for every class with a hyphen.
        """
        weights = torch.zeros(length, len(self.words))
        for phrase, places in enumerate(self.words):
            weights[places, phrase] = 1.0 / len(places)
        return weights


def pack(
    prompts: Sequence[tuple[str, str]],
    tokenize: Callable[[str], list[int]],
    unknown: int,
    limit: int,
    marks: Set[int] = frozenset(),
) -> list[PromptChunk]:
    """Pack phrases, in the given order, into as many texts as needed.

    Args:
        prompts: (class, prompt).
        tokenize: returns the token ids of a text, without special tokens.
        unknown: the id of [UNK].
        limit: the model's token limit, including [CLS] and [SEP].
        marks: the ids of punctuation, which do not count in a phrase's score; see `marks_of`.

    Raises:
        SetupError: a prompt exceeds the limit, has no word, contains a word outside the vocabulary,
            or has the same tokens as another prompt.
    """
    chunks = [PromptChunk()]
    owners: dict[tuple[int, ...], str] = {}
    for index, (name, prompt) in enumerate(prompts):
        tokens = tokenize(normalised(prompt))
        what = f"prompt {prompt!r} of class {name!r}"
        _check(what, tokens, unknown, limit)
        if all(token in marks for token in tokens):
            raise SetupError(f"{what} has no word", "name the object in words in the ontology")
        claim(owners, tokens, what)
        if len(chunks[-1].input_ids) + len(tokens) + 1 > limit:
            chunks.append(PromptChunk())
        chunks[-1].append(index, tokens, marks)
    return chunks


def marks_of(vocabulary: Mapping[str, int]) -> frozenset[int]:
    """The ids of a vocabulary's tokens without a letter or a digit."""
    return frozenset(number for token, number in vocabulary.items() if not has_word(token))


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
