"""The ontology: classes, their prompts and thresholds, and groups of exclusive classes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from actors.contract import Settings
from actors.phrases import normalised, same_words

#: Grounding DINO ends a phrase at each of these characters.
DELIMITERS = ".?"

Score = Annotated[float, Field(gt=0, lt=1)]
Pixels = Annotated[float, Field(ge=0)]


class ObjectClass(Settings):
    """Prompts and thresholds of one class."""

    prompts: tuple[str, ...] = Field(
        (), description="synonyms of the class; empty: the name of the class"
    )
    threshold: Score | None = Field(
        None, description="lowest score; null: the ontology's threshold"
    )
    min_size: Pixels | None = Field(
        None,
        description="smallest shorter side of the box, in pixels of the upright image; null: the "
        "ontology's min_size",
    )


def _bare_names(classes: Any) -> Any:
    """Accept ``star:`` without a value (null in YAML) as a class with default settings."""
    if not isinstance(classes, dict):
        return classes
    return {name: {} if spec is None else spec for name, spec in classes.items()}


class Ontology(Settings):
    """The classes of a labelling job.

    Raises ValueError (pydantic) if it is empty, if two prompts have the same words (see
    `actors.phrases`), if a prompt is blank or contains a delimiter, or if an exclusive group names
    an unknown class. The length of a prompt is checked by the model's tokenizer: see
    `actors.detection.grounding.prompts.pack`.
    """

    classes: Annotated[dict[str, ObjectClass], BeforeValidator(_bare_names)] = Field(
        description="class name -> its prompts and thresholds"
    )
    threshold: Score = Field(0.3, description="lowest score of classes without their own threshold")
    min_size: Pixels = Field(
        0.0, description="pixels; smallest shorter side for classes without their own min_size"
    )
    exclusive: tuple[tuple[str, ...], ...] = Field(
        (),
        description="groups of mutually exclusive classes: of overlapping boxes of one group only "
        "the best one is kept",
    )
    exclusive_iou: float = Field(
        0.7, gt=0, le=1, description="lowest IoU at which two boxes count as one object"
    )

    @model_validator(mode="after")
    def _has_classes(self) -> Self:
        if not self.classes:
            raise ValueError("the ontology has no classes: add one, e.g. 'classes: {cat: }'")
        return self

    @model_validator(mode="after")
    def _prompts_are_phrases(self) -> Self:
        for name, prompt in self.prompts():
            if not prompt.strip():
                raise ValueError(f"class {name!r} has a blank prompt: {prompt!r}")
            for mark in DELIMITERS:
                if mark in prompt:
                    raise ValueError(
                        f"prompt {prompt!r} of class {name!r} contains {mark!r}, which ends a "
                        f"phrase for the model: use a prompt without it"
                    )
        return self

    @model_validator(mode="after")
    def _prompts_differ(self) -> Self:
        owners: dict[str, tuple[str, str]] = {}
        for name, prompt in self.prompts():
            folded = same_words(prompt)
            if folded in owners:
                other, spelling = owners[folded]
                where = "twice" if other == name else f"and {spelling!r} of class {other!r}"
                raise ValueError(
                    f"duplicate prompt: {prompt!r} of class {name!r} {where}; both are read as "
                    f"{normalised(prompt)!r} (case, spaces and punctuation make no difference)"
                )
            owners[folded] = (name, prompt)
        return self

    @model_validator(mode="after")
    def _exclusions_name_classes(self) -> Self:
        for group in self.exclusive:
            if len(set(group)) < 2:
                raise ValueError(f"exclusive group {list(group)} needs two different classes")
            for name in group:
                if name not in self.classes:
                    near = difflib.get_close_matches(name, self.classes, 1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ValueError(f"exclusive group names an unknown class: {name!r}{hint}")
        return self

    def prompts(self) -> Iterator[tuple[str, str]]:
        """(class, prompt) in the order of the config file."""
        for name, spec in self.classes.items():
            for prompt in spec.prompts or (name,):
                yield name, prompt

    def threshold_of(self, name: str) -> float:
        """Lowest score, 0..1, at which an object of the class is kept."""
        own = self.classes[name].threshold
        return self.threshold if own is None else own

    def min_size_of(self, name: str) -> float:
        """Smallest shorter side of a box of the class, in pixels of the upright image."""
        own = self.classes[name].min_size
        return self.min_size if own is None else own

    def exclusive_pairs(self) -> frozenset[frozenset[str]]:
        """All pairs of mutually exclusive classes."""
        pairs = (frozenset(pair) for group in self.exclusive for pair in combinations(group, 2))
        return frozenset(pair for pair in pairs if len(pair) == 2)
