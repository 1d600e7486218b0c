"""An ontology's prompts as classes of a model that takes no text."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from actors.failures import SetupError
from actors.ontology import DELIMITERS, Ontology, normalised


def matched(ontology: Ontology, names: Sequence[str], model: str) -> tuple[Ontology, list[int]]:
    """The ontology with the model's own names for prompts, and the prompt of each class.

    Args:
        ontology: its prompts name classes of the model, whatever their case and spaces; a full
            stop or question mark in the model's name may be left out, since prompts have none.
        names: by class number. Where two are the same, the prompt means both.
        model: for messages.

    Returns:
        ontology: the same classes and rules.
        prompts: (classes,) which of the ontology's prompts asks for it, -1: none.

    Raises SetupError for a prompt that is no class of the model.
    """
    folded = [_folded(name) for name in names]
    prompts = [-1] * len(names)
    spelling: dict[str, list[str]] = {name: [] for name in ontology.classes}
    for number, (owner, prompt) in enumerate(ontology.prompts()):
        known = [index for index, name in enumerate(folded) if name == _folded(prompt)]
        if not known:
            raise _unknown(owner, prompt, names, model)
        for index in known:
            prompts[index] = number
        spelling[owner].append(names[known[0]])
    classes = {
        name: spec.model_copy(update={"prompts": tuple(spelling[name])})
        for name, spec in ontology.classes.items()
    }
    return ontology.model_copy(update={"classes": classes}), prompts


def _folded(name: str) -> str:
    for mark in DELIMITERS:
        name = name.replace(mark, " ")
    return normalised(name)


def _unknown(owner: str, prompt: str, names: Sequence[str], model: str) -> SetupError:
    by_folded = {_folded(name): name for name in names}
    near = difflib.get_close_matches(_folded(prompt), by_folded, 3)
    hint = f"; nearest: {', '.join(repr(by_folded[name]) for name in near)}" if near else ""
    listed = ", ".join(repr(name) for name in names[:100])
    return SetupError(
        f"{model} knows no class {prompt!r} (class {owner!r} of the ontology){hint}",
        f"its {len(names)} classes are {listed}{' ...' if len(names) > 100 else ''}; for others "
        "take a detector that reads text",
    )
