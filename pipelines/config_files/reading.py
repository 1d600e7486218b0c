"""Reads a YAML file with overrides, and builds the settings of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from actors.contract import Settings
from pipelines.errors import ConfigError
from pipelines.storage.objects import StorageSettings
from pipelines.storage.paths import STORAGE_CONTEXT

from .faults import fault_lines
from .strict_yaml import KeyFaults, strict_load

S = TypeVar("S", bound=Settings)


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, with ``a.b=c`` overrides applied. Raises ConfigError."""
    try:
        raw = strict_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}", "configs/ has examples") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read config {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    except KeyFaults as faults:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  {line}" for line in faults.lines)) from None
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
    try:
        raw[last] = strict_load(value)
    except (yaml.YAMLError, KeyFaults) as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from None


def validated(model: type[S], raw: Mapping[str, Any], where: str) -> S:
    """Build the settings. Raises ConfigError with one line per fault; typos get a suggestion."""
    try:
        return model.model_validate(raw, context={STORAGE_CONTEXT: _storage_in(raw)})
    except ValidationError as error:
        found = [dict(one) for one in error.errors(include_url=False)]
        lines = fault_lines(model, raw, found)
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
