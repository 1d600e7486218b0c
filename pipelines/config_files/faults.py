"""The faults of a config, one line for each key, from pydantic's error details."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, Tag

from .words import flow, in_words, shown, wanted


def fault_lines(
    model: type[BaseModel], raw: Mapping[str, Any], errors: Sequence[dict[str, Any]]
) -> list[str]:
    """One line for each faulty key: ``key: what it must be (got what it is)``.

    Pydantic gives one error for each type that a key may have, and puts names of types and of
    models behind its keys. Both are joined here.

    Args:
        model: the model that refused the config.
        raw: the config as it stands in the file.
        errors: from `ValidationError.errors`.
    """
    lines: dict[str, list[str]] = {}
    wants: dict[str, list[str]] = {}
    for error in errors:
        keys = _keys(raw, error)
        key = ".".join(keys)
        nested = _list_of_lists(raw, keys, error)
        if nested:
            lines[".".join(keys[:-1])] = [nested]
        elif want := wanted(error, list(_fields_at(model, _location(error)))):
            alternatives = wants.setdefault(key, [])
            if want not in alternatives:
                alternatives.append(want)
            lines[key] = [f"must be {' or '.join(alternatives)}{shown(error['input'])}"]
        else:
            lines.setdefault(key, []).append(_other(model, error))
    return [f"{key}: {line}" if key else line for key, some in lines.items() for line in some]


def _keys(raw: Any, error: Mapping[str, Any]) -> list[str]:
    """The keys of an error's place, without the names of types that pydantic puts between."""
    keys: list[str] = []
    names_a_key = error["type"] in ("missing", "extra_forbidden")
    for place, part in enumerate(error["loc"]):
        last = names_a_key and place == len(error["loc"]) - 1
        inside = part in raw if isinstance(raw, Mapping) else _has(raw, part)
        if inside:
            raw = raw[part]
        if inside or last:
            keys.append(str(part))
    return keys


def _has(raw: Any, part: Any) -> bool:
    return isinstance(raw, list) and isinstance(part, int) and part < len(raw)


def _location(error: Mapping[str, Any]) -> list[str]:
    return [str(part) for part in error["loc"]]


def _list_of_lists(raw: Any, keys: Sequence[str], error: Mapping[str, Any]) -> str | None:
    """The fault of ``[car, truck]`` where ``[[car, truck]]`` belongs; None for any other."""
    if error["type"] not in ("tuple_type", "list_type") or not keys or not keys[-1].isdigit():
        return None
    for key in keys[:-1]:
        raw = raw[int(key)] if isinstance(raw, list) else raw[key]
    if not isinstance(raw, list) or not all(isinstance(one, str) for one in raw):
        return None
    return f"must be a list of lists: {flow([raw])}{shown(raw)}"


def _other(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    """A fault that names no kind of value."""
    if error["type"] == "extra_forbidden":
        location = _location(error)
        names = list(_fields_at(model, location[:-1]))
        close = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(names)}"
        return f"unknown key{hint}"
    return in_words(error)


def _fields_at(model: type[BaseModel], location: Sequence[str]) -> Mapping[str, Any]:
    parts = list(location)
    while parts:
        part = parts.pop(0)
        if part not in model.model_fields:  # a key of a dict of models
            continue
        nested = _models(model.model_fields[part].annotation)
        if not nested:
            return {}
        # In a choice of models, the tag of the chosen model follows the key.
        model = nested.get(parts[0] if parts else "", next(iter(nested.values())))
    return model.model_fields


def _models(annotation: Any) -> dict[str, type[BaseModel]]:
    """The models in an annotation, by tag if they have one, else by class name."""
    if isinstance(annotation, type):
        return {annotation.__name__: annotation} if issubclass(annotation, BaseModel) else {}
    tags = [one.tag for one in get_args(annotation) if isinstance(one, Tag)]
    found: dict[str, type[BaseModel]] = {}
    for one in get_args(annotation):
        found |= _models(one)
    return {tags[0]: next(iter(found.values()))} if tags and found else found
