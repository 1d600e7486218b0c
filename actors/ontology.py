"""What to look for: classes, the prompts that name them, thresholds, and what excludes what."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from actors.contract import Settings

#: Grounding DINO ends a phrase at these characters, wherever they stand.
DELIMITERS = ".?"

Score = Annotated[float, Field(gt=0, lt=1)]
Pixels = Annotated[float, Field(ge=0)]


class ObjectClass(Settings):
    """How one class is asked for, and what counts as found."""

    prompts: tuple[str, ...] = Field(
        (), description="synonyms, any of which means the class; none: the name of the class"
    )
    threshold: Score | None = Field(None, description="lowest score; null: the ontology's")
    min_size: Pixels | None = Field(
        None, description="shorter side of the box, pixels of the upright image; null: ontology's"
    )


def _bare_names(classes: Any) -> Any:
    """``star:`` with nothing behind it is YAML for null; it means a class without own settings."""
    if not isinstance(classes, dict):
        return classes
    return {name: {} if spec is None else spec for name, spec in classes.items()}


class Ontology(Settings):
    """The classes of a labelling job.

    Raises ValueError (pydantic) where it is empty, where two prompts are the same but for case and
    spaces, where a prompt is blank or holds a delimiter, and where an exclusion names no class.
    Whether a prompt is longer than the model takes only the model's tokenizer can tell: see
    `actors.detection.grounding.prompts.pack`.
    """

    classes: Annotated[dict[str, ObjectClass], BeforeValidator(_bare_names)] = Field(
        description="class name -> its prompts and thresholds"
    )
    threshold: Score = Field(0.3, description="lowest score of classes without an own one")
    min_size: Pixels = Field(0.0, description="pixels; for classes without an own one")
    exclusive: tuple[tuple[str, ...], ...] = Field(
        (), description="groups of classes of which one object can only be one: the best stays"
    )
    exclusive_iou: float = Field(
        0.7, gt=0, le=1, description="boxes that overlap by this IoU are one object"
    )

    @model_validator(mode="after")
    def _has_classes(self) -> Self:
        if not self.classes:
            raise ValueError("the ontology is empty: name a class, for instance 'classes: {cat: }'")
        return self

    @model_validator(mode="after")
    def _prompts_are_phrases(self) -> Self:
        for name, prompt in self.prompts():
            if not prompt.strip():
                raise ValueError(f"class {name!r} has a blank prompt: {prompt!r}")
            for mark in DELIMITERS:
                if mark in prompt:
                    raise ValueError(
                        f"prompt {prompt!r} of class {name!r} holds {mark!r}, which ends a phrase "
                        f"for the model: give the class a prompt without it"
                    )
        return self

    @model_validator(mode="after")
    def _prompts_differ(self) -> Self:
        owners: dict[str, tuple[str, str]] = {}
        for name, prompt in self.prompts():
            folded = normalised(prompt)
            if folded in owners:
                other, spelling = owners[folded]
                where = "twice" if other == name else f"and {spelling!r} of class {other!r}"
                raise ValueError(
                    f"duplicate prompt: {prompt!r} of class {name!r} {where}; case and spaces "
                    f"make no difference to the model"
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
                    raise ValueError(f"exclusive group names no class of ours: {name!r}{hint}")
        return self

    def prompts(self) -> Iterator[tuple[str, str]]:
        """(class, prompt) in the order of the file."""
        for name, spec in self.classes.items():
            for prompt in spec.prompts or (name,):
                yield name, prompt

    def threshold_of(self, name: str) -> float:
        """Lowest score, 0..1, at which an object of the class is kept."""
        own = self.classes[name].threshold
        return self.threshold if own is None else own

    def min_size_of(self, name: str) -> float:
        """Least shorter side of a box of the class, pixels of the upright image."""
        own = self.classes[name].min_size
        return self.min_size if own is None else own

    def exclusive_pairs(self) -> frozenset[frozenset[str]]:
        """Every two different classes that exclude each other on one object."""
        pairs = (frozenset(pair) for group in self.exclusive for pair in combinations(group, 2))
        return frozenset(pair for pair in pairs if len(pair) == 2)


def normalised(prompt: str) -> str:
    """The prompt as the model reads it: lower case, single spaces."""
    return " ".join(prompt.lower().split())
