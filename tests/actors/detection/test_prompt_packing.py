"""Prompts as tokens: equal to the library's, packed into few texts, token spans kept apart."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_grounding_dino import WORDS, processor, tokenizer
from transformers.models.grounding_dino.modeling_grounding_dino import build_label_maps

from actors.detection.grounding.prompts import PromptChunk, marks_of, pack
from actors.failures import SetupError

TOKENIZER = tokenizer()
MARKS = marks_of(TOKENIZER.get_vocab())


def tokenize(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def packed(*prompts: str, limit: int = 256) -> list[PromptChunk]:
    pairs = [(f"class of {prompt}", prompt) for prompt in prompts]
    return pack(pairs, tokenize, TOKENIZER.unk_token_id, limit, MARKS)


def test_a_text_has_the_tokens_that_the_library_gives_it() -> None:
    prompts = ["Cat", "red  car", "hotdogs", "x-ray", "remote control"]
    (chunk,) = packed(*prompts)
    library = processor()(text=prompts)["input_ids"]
    assert chunk.input_ids == list(library[0] if isinstance(library[0], list) else library)


def test_spans_are_those_of_the_library() -> None:
    prompts = ["cat", "hotdog", "red star", "dog"]
    (chunk,) = packed(*prompts)
    length = len(chunk.input_ids)
    maps = build_label_maps(torch.zeros(1, 1, length), torch.tensor([chunk.input_ids]))[0].float()
    torch.testing.assert_close(chunk.weights(length), (maps / maps.sum(1, keepdim=True)).T)


def test_each_span_reads_as_its_own_prompt() -> None:
    prompts = ["cat", "cat dog", "dog", "hotdog"]
    (chunk,) = packed(*prompts)
    texts = [TOKENIZER.decode(chunk.input_ids[start:stop]) for start, stop in chunk.spans]
    assert texts == prompts


def test_words_that_stand_in_two_prompts_are_scored_apart() -> None:
    """The library decodes whatever tokens fire: here "cat dog", which only one class is called."""
    (chunk,) = packed("cat", "dog", "cat dog", "hotdog")
    fires = torch.zeros(len(chunk.input_ids))
    fires[[chunk.spans[0][0], chunk.spans[1][0]]] = 0.9  # the tokens of "cat" and of "dog"
    scores = fires @ chunk.weights(len(chunk.input_ids))
    assert scores.tolist() == pytest.approx([0.9, 0.9, 0.0, 0.0])


@settings(deadline=None)  # the machine is shared
@given(
    prompts=st.lists(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join),
        min_size=1,
        max_size=40,
        unique=True,
    ),
    limit=st.integers(9, 40),
)
def test_every_prompt_is_in_one_text_that_fits(prompts: list[str], limit: int) -> None:
    chunks = packed(*prompts, limit=limit)
    assert [index for chunk in chunks for index in chunk.prompts] == list(range(len(prompts)))
    assert all(len(chunk.input_ids) <= limit for chunk in chunks)
    for full, following in itertools.pairwise(chunks):
        first = following.spans[0][1] - following.spans[0][0]
        assert len(full.input_ids) + first + 1 > limit, "the next prompt would still have fitted"


def test_a_prompt_may_fill_the_text_but_not_pass_it() -> None:
    fits = " ".join(["cat"] * 13)  # with [CLS], the full stop and [SEP]: 16
    assert len(packed(fits, limit=16)[0].input_ids) == 16
    with pytest.raises(
        SetupError, match=r"'cat .*' of class .* has 14 tokens; the model accepts at most 13"
    ):
        packed("dog", fits + " cat", limit=16)


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        (("cat", "\N{CAT FACE}"), "cannot be tokenised with the model's vocabulary"),
        (("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe"), "has the same tokens as prompt 'caf"),
    ],
)
def test_a_prompt_that_the_model_would_misread_is_refused(
    prompts: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SetupError, match=said) as caught:
        packed(*prompts)
    assert repr(prompts[-1]) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    "spelling",
    ["traffic_light", "traffic-light", '"Traffic Light"', "traffic/light", "(traffic), [light]"],
)
def test_punctuation_parts_words(spelling: str) -> None:
    assert packed(spelling)[0].input_ids == packed("traffic light")[0].input_ids


def test_punctuation_within_a_word_does_not_count_in_its_score() -> None:
    """The hyphen fires for each class with a hyphen, the letters for this one alone."""
    (chunk,) = packed("x-ray", "cat's star", "car")
    tokens = TOKENIZER.convert_ids_to_tokens(chunk.input_ids)
    weights = chunk.weights(len(tokens))
    start, stop = chunk.spans[0]
    assert tokens[start : start + 2] == ["x", "-"]
    letters = stop - start - 1
    assert weights[start:stop, 0].tolist() == pytest.approx(
        [1 / letters, 0, *[1 / letters] * (letters - 1)]
    )
    assert weights[tokens.index("'"), 1] == 0
    torch.testing.assert_close(weights.sum(0), torch.ones(3))


def test_a_prompt_without_a_word_is_refused() -> None:
    with pytest.raises(SetupError, match=r"prompt '-' of class .* has no word"):
        packed("cat", "-")
