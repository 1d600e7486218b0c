"""The ontology file: its defaults, and a message for every mistake."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from actors.ontology import Ontology


def read(text: str) -> Ontology:
    return Ontology.model_validate(yaml.safe_load(text))


GARAGE = """
classes:
  car: {prompts: [car, automobile], threshold: 0.45}
  truck:
  wheel: {min_size: 12}
threshold: 0.3
min_size: 4
exclusive: [[car, truck]]
"""


def test_a_class_without_prompts_is_asked_for_by_its_name() -> None:
    assert list(read(GARAGE).prompts()) == [
        ("car", "car"),
        ("car", "automobile"),
        ("truck", "truck"),
        ("wheel", "wheel"),
    ]


def test_a_class_has_its_own_limits_or_those_of_the_ontology() -> None:
    ontology = read(GARAGE)
    assert [ontology.threshold_of(name) for name in ontology.classes] == [0.45, 0.3, 0.3]
    assert [ontology.min_size_of(name) for name in ontology.classes] == [4, 4, 12]


def test_a_group_excludes_every_two_of_its_classes() -> None:
    ontology = read("{classes: {a: , b: , c: , d: }, exclusive: [[a, b, c], [c, d]]}")
    assert ontology.exclusive_pairs() == {
        frozenset(pair) for pair in ({"a", "b"}, {"a", "c"}, {"b", "c"}, {"c", "d"})
    }


def test_the_name_of_a_class_may_hold_what_a_prompt_may_not() -> None:
    ontology = read("classes: {St. Bernard: {prompts: [saint bernard]}}")
    assert list(ontology.prompts()) == [("St. Bernard", "saint bernard")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classes: {}", "the ontology has no classes: add one"),
        (
            "classes: {car: , vehicle: {prompts: [' CAR ']}}",
            "duplicate prompt: ' CAR ' of class 'vehicle' and 'car' of class 'car'",
        ),
        (
            "classes: {car: {prompts: [red  car, Red car]}}",
            "duplicate prompt: 'Red car' of class 'car' twice",
        ),
        ("classes: {St. Bernard: }", "prompt 'St. Bernard' of class 'St. Bernard' contains '.'"),
        ("classes: {what: {prompts: ['what?']}}", "prompt 'what?' of class 'what' contains '?'"),
        ("classes: {car: {prompts: ['  ']}}", "class 'car' has a blank prompt"),
        (
            "{classes: {car: , truck: }, exclusive: [[car, trck]]}",
            "exclusive group names an unknown class: 'trck'; did you mean 'truck'?",
        ),
        ("{classes: {car: }, exclusive: [[car, car]]}", "needs two different classes"),
        ("{classes: {car: }, threshold: 1.5}", "less than 1"),
        ("classes: {car: {treshold: 0.5}}", "classes.car.treshold"),
        ("classes: {car: {min_size: -1}}", "classes.car.min_size"),
    ],
)
def test_a_mistake_is_named(text: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(text)
    assert said in str(caught.value)


def test_the_schema_for_editors_describes_a_class() -> None:
    schema: dict[str, Any] = Ontology.model_json_schema()
    assert set(schema["$defs"]["ObjectClass"]["properties"]) == {"prompts", "threshold", "min_size"}
