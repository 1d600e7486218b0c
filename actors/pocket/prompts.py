"""Training prompts: the phrases for a scene, and the objects that each phrase means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .words import COLOURS, HELD_OUT, SEEN_KINDS, SHAPES, STRANGERS, SYNONYMS, Kind

#: Separator of phrases in Grounding DINO's prompt, as in its processor.
SEPARATOR = ". "


def sentence(phrases: Sequence[str]) -> str:
    """One prompt text of several phrases: ``red star. blue circle.``"""
    return SEPARATOR.join(phrases) + "."


def means(asked: Kind, thing: Kind) -> bool:
    """Whether a phrase for `asked` means an object of kind `thing`."""
    return asked.colour in (None, thing.colour) and asked.shape in (None, thing.shape)


def _stranger(rng: np.random.Generator) -> str:
    """A phrase without objects: a noun that no scene contains, or a made-up word."""
    if rng.random() < 0.5:
        noun = STRANGERS[int(rng.integers(len(STRANGERS)))]
    else:
        letters = rng.integers(0, 26, int(rng.integers(3, 9)))
        noun = "".join(chr(ord("a") + int(letter)) for letter in letters)
    if rng.random() < 0.3:
        return f"{tuple(COLOURS)[int(rng.integers(len(COLOURS)))]} {noun}"
    return noun


def _candidates(rng: np.random.Generator, things: Sequence[Kind], pairs: bool) -> list[Kind]:
    """Kinds for the prompt, in order of use: most present ones, then similar ones, then any.

    One object in five is left out, so that the detector learns to ignore unprompted objects.
    """
    here = [kind for kind in things if rng.random() < 0.8]
    if not pairs:
        words = [Kind(colour, None) for colour in COLOURS] + [Kind(None, s) for s in SHAPES]
        asked = [Kind(k.colour, None) if rng.random() < 0.5 else Kind(None, k.shape) for k in here]
        return asked + [words[i] for i in rng.permutation(len(words))]
    near = [
        kind
        for kind in SEEN_KINDS
        if any((kind.colour == t.colour) != (kind.shape == t.shape) for t in things)
    ]
    few = [near[i] for i in rng.permutation(len(near))[:4]]
    return here + few + [SEEN_KINDS[i] for i in rng.permutation(len(SEEN_KINDS))]


def draw_prompt(
    rng: np.random.Generator, things: Sequence[Kind], size: int, pair_share: float
) -> tuple[list[str], list[Kind | None]]:
    """Phrases for one scene, in random order.

    Args:
        rng: the only source of randomness.
        things: the kinds of the scene's objects.
        size: number of phrases.
        pair_share: probability of a prompt of pairs ("red star") instead of single words ("star",
            "red"); one pair prompt in six mixes both.

    Returns:
        phrases: `size` texts, some with synonyms or an article.
        asked: the kind of each phrase; None for a phrase without objects.
    """
    pairs = rng.random() < pair_share
    queue = _candidates(rng, things, pairs)
    if pairs and rng.random() < 1 / 6:
        other = _candidates(rng, things, pairs=False)
        queue = [kind for both in zip(queue, other, strict=False) for kind in both]
    known = list(dict.fromkeys(queue))[:size]
    strangers = min(len(known) - 1, int(rng.binomial(2, 0.35)))
    kinds: list[Kind | None] = [*known[: len(known) - strangers], *[None] * strangers]
    kinds = [kinds[i] for i in rng.permutation(len(kinds))]
    phrases = [_stranger(rng) if kind is None else _spelled(rng, kind) for kind in kinds]
    return phrases, kinds


def _spelled(rng: np.random.Generator, kind: Kind) -> str:
    if tuple(kind) in HELD_OUT:
        raise ValueError(f"{kind.phrase!r} is held out of training")
    words = kind.phrase.split()
    words = [SYNONYMS[w] if w in SYNONYMS and rng.random() < 0.25 else w for w in words]
    return " ".join(["a", *words] if rng.random() < 0.1 else words)
