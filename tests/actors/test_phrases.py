"""Prompts as words: what a labeller writes as a class name, and what a model reads."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from actors.detection.closed_set.names import matched
from actors.failures import SetupError
from actors.ontology import Ontology
from actors.phrases import normalised, same_words


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("traffic_light", "traffic light"),
        ("traffic-light", "traffic light"),
        ("Traffic  Light", "traffic light"),
        ("'traffic light'", "traffic light"),
        ("\N{LEFT DOUBLE QUOTATION MARK}dog\N{RIGHT DOUBLE QUOTATION MARK}", "dog"),
        ("car/truck", "car truck"),
        ("car|truck", "car truck"),
        ("car, truck (red)", "car truck red"),
        ("traffic\N{EN DASH}light", "traffic light"),
        ("merry-go-round", "merry go round"),
        ("__traffic__light__", "traffic light"),
        ("soft\N{SOFT HYPHEN}ball", "softball"),
        ("\N{FULLWIDTH LATIN SMALL LETTER C}at", "cat"),
        # a mark that belongs to its word
        ("T-shirt", "t-shirt"),
        ("x\N{NON-BREAKING HYPHEN}ray", "x-ray"),
        ("vitamin-c", "vitamin-c"),
        ("driver\N{RIGHT SINGLE QUOTATION MARK}s license", "driver's license"),
        ("H&M logo", "h&m logo"),
        ("C++", "c++"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
        # nothing but marks: a detector of characters may have such a class
        ("-", "-"),
    ],
)
def test_a_prompt_is_read_as_words(written: str, read: str) -> None:
    assert normalised(written) == read
    assert normalised(read) == read


def test_words_compare_without_their_marks() -> None:
    assert same_words("T-Shirt") == same_words("t_shirt") == "t shirt"
    assert same_words("-") != same_words("'")


@pytest.mark.parametrize(
    ("one", "other"),
    [("traffic_light", "traffic light"), ("t-shirt", "t shirt"), ("car/truck", "car, truck")],
)
def test_two_classes_with_the_same_words_are_refused(one: str, other: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Ontology.model_validate({"classes": {one: {}, "dog": {}, other: {}}})
    said = str(caught.value)
    assert f"duplicate prompt: {other!r} of class {other!r} and {one!r} of class {one!r}" in said
    assert f"both are read as {normalised(other)!r}" in said


def test_the_name_and_the_prompt_stay_as_written() -> None:
    ontology = Ontology.model_validate({"classes": {"traffic_light": {}}})
    assert list(ontology.prompts()) == [("traffic_light", "traffic_light")]


NAMES = ("person", "traffic light", "cell-phone", "a/b", "a b", "1.5 l")


@pytest.mark.parametrize(
    ("prompt", "number"),
    [("traffic_light", 1), ("Cell Phone", 2), ("a/b", 3), ("a b", 4), ("1,5 l", 5)],
)
def test_a_class_of_a_closed_set_is_found_by_its_words(prompt: str, number: int) -> None:
    ontology = Ontology.model_validate({"classes": {"mine": {"prompts": [prompt]}}})
    named, prompts = matched(ontology, NAMES, "a.pt")
    assert [at for at, owner in enumerate(prompts) if owner == 0] == [number]
    assert list(named.prompts()) == [("mine", NAMES[number])]


def test_an_unknown_class_of_a_closed_set_gets_the_nearest_name() -> None:
    ontology = Ontology.model_validate({"classes": {"trafic_light": {}}})
    with pytest.raises(SetupError, match="nearest: 'traffic light'"):
        matched(ontology, NAMES, "a.pt")
