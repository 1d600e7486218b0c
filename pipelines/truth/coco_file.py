"""Reads a COCO JSON. Each way in which it can be wrong has its own message."""

from __future__ import annotations

import json
from typing import Any

from pipelines.errors import ConfigError
from pipelines.storage.paths import RunPath, listed

#: The keys that a truth needs, each with a list of objects.
KEYS = ("images", "annotations", "categories")
REMEDY = "give a COCO JSON (an object with images, annotations and categories), or reviewed rows"


def check_is_there(path: RunPath) -> None:
    """Raise ConfigError if there is no file at the path of a truth."""
    if path.is_dir():
        found = [one.name for one in listed(path, "*.json")]
        hint = f"name one of its files: {', '.join(found[:5])}" if found else REMEDY
        raise ConfigError(f"the truth {path} is a folder", hint)
    if not path.exists():
        near = [one.name for one in listed(path.parent, "*.json")] if path.parent.is_dir() else []
        hint = f"; {path.parent} holds {', '.join(near[:5])}" if near else ""
        raise ConfigError(f"there is no truth at {path}: the file is missing{hint}", REMEDY)


def read_coco_file(path: RunPath) -> dict[str, list[Any]]:
    """The lists of a COCO JSON. Raises ConfigError if the file is missing or no COCO JSON."""
    check_is_there(path)
    try:
        # With the mark of Windows' editors at its start, a file is JSON all the same.
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read the truth {path}: {error.strerror}", REMEDY) from None
    except UnicodeDecodeError:
        raise _refused(path, "it is not UTF-8 text") from None
    if not text.strip():
        raise ConfigError(f"the truth {path} is empty", REMEDY)
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"it is not JSON: {error}") from None
    if isinstance(raw, list):
        raise _refused(path, "it is a list, as a file of results is, and holds no images")
    if not isinstance(raw, dict):
        raise _refused(path, f"it holds only {text.strip()[:40]!r}")
    lacking = [key for key in KEYS if not isinstance(raw.get(key), list)]
    if lacking:
        raise _refused(path, f"it has no list {' and no list '.join(map(repr, lacking))}")
    return {key: raw[key] for key in KEYS}


def _refused(path: RunPath, why: str) -> ConfigError:
    return ConfigError(f"the truth {path} is not a COCO JSON: {why}", REMEDY)
