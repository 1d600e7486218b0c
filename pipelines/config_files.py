"""Config files: YAML -> pydantic models. An unknown key is an error that suggests a known key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Tag, ValidationError

from actors.contract import Settings
from pipelines.errors import ConfigError
from pipelines.storage.objects import StorageSettings
from pipelines.storage.paths import STORAGE_CONTEXT

S = TypeVar("S", bound=Settings)


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, with ``a.b=c`` overrides applied. Raises ConfigError."""
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}", "configs/ has examples") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read config {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values")
    for override in overrides:
        _override(raw, override)
    return raw


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, such as fetch.dpi=150")
    *parents, last = key.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a group of keys")
    raw[last] = yaml.safe_load(value)


def validated(model: type[S], raw: Mapping[str, Any], where: str) -> S:
    """Build the settings. Raises ConfigError with one line per fault; typos get a suggestion."""
    try:
        return model.model_validate(raw, context={STORAGE_CONTEXT: _storage_in(raw)})
    except ValidationError as error:
        lines = [_fault(model, dict(e)) for e in error.errors(include_url=False)]
        raise ConfigError(
            f"{where}:\n" + "\n".join(f"  {line}" for line in lines),
            "nightjar config schema describes every key",
        ) from None


def _storage_in(raw: Mapping[str, Any]) -> StorageSettings | None:
    """The storage settings in a config that is not validated yet."""
    fetch = raw.get("fetch")
    found = raw.get("storage") or (fetch.get("storage") if isinstance(fetch, dict) else None)
    with suppress(ValidationError):  # validating the whole config reports it with its key
        return StorageSettings.model_validate(found) if found else None
    return None


def _fault(model: type[BaseModel], error: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(_without_tags(model, location))
    if error["type"] == "extra_forbidden":
        names = list(_fields_at(model, location[:-1]))
        close = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(names)}"
        return f"{key}: unknown key{hint}"
    if error["type"] == "missing":
        return f"{key}: missing"
    shown = "" if isinstance(error["input"], dict) else f" (got {error['input']!r})"
    message = error["msg"].removeprefix("Value error, ") + shown
    return f"{key}: {message}" if key else message


def _without_tags(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The keys as the file has them: pydantic puts the tag of a model choice behind its key."""
    keys: list[str] = []
    for place, part in enumerate(location):
        fields = _fields_at(model, location[: place - 1]) if place else {}
        before = fields.get(location[place - 1]) if place else None
        if before is None or part not in _models(before.annotation):
            keys.append(part)
    return keys


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
