"""Maps an ontology's prompts to the classes of a model without text input."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from actors.failures import SetupError
from actors.ontology import Ontology
from actors.phrases import same_words


def matched(ontology: Ontology, names: Sequence[str], model: str) -> tuple[Ontology, list[int]]:
    """The ontology with the model's class names as prompts, and the prompt of each class.

    Args:
        ontology: its prompts must be class names of the model; case, spaces and punctuation are
            ignored (punctuation only if no class has this spelling).
        names: class names by class number. A prompt matches all classes of equal name.
        model: for messages.

    Returns:
        ontology: the same classes and rules.
        prompts: (classes,) index of the prompt of each class, -1: none.

    Raises SetupError for a prompt that is not a class of the model.
    """
    folded = [same_words(name) for name in names]
    prompts = [-1] * len(names)
    spelling: dict[str, list[str]] = {name: [] for name in ontology.classes}
    for number, (owner, prompt) in enumerate(ontology.prompts()):
        known = [index for index, name in enumerate(names) if _spelled(name) == _spelled(prompt)]
        known = known or [i for i, name in enumerate(folded) if name == same_words(prompt)]
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


def _spelled(name: str) -> str:
    return " ".join(name.lower().split())


def _unknown(owner: str, prompt: str, names: Sequence[str], model: str) -> SetupError:
    by_folded = {same_words(name): name for name in names}
    near = difflib.get_close_matches(same_words(prompt), by_folded, 3)
    hint = f"; nearest: {', '.join(repr(by_folded[name]) for name in near)}" if near else ""
    listed = ", ".join(repr(name) for name in names[:100])
    return SetupError(
        f"{model} has no class {prompt!r} (class {owner!r} of the ontology){hint}",
        f"its {len(names)} classes are {listed}{' ...' if len(names) > 100 else ''}; for other "
        "classes use a detector with text prompts",
    )
