"""Pydantic's faults in the words of a config file: ``a list: [cat]``, not ``a valid tuple``."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Keys of a group that a message names.
MOST_KEYS = 6
#: Characters of a value that a message shows.
LONGEST = 80

Wanted = Callable[[Any, Mapping[str, Any]], str]


def _text(given: Any, _: Mapping[str, Any]) -> str:
    """A word that YAML 1.1 reads as a truth value, a number or a date."""
    if isinstance(given, bool):
        word, others = ("yes", "on or true") if given else ("no", "off or false")
        return f"text: quote it: {word!r} (YAML takes a bare {word}, {others} for a truth value)"
    if isinstance(given, int | float | datetime.date):
        return f"text: quote it: {str(given)!r}"
    return "text"


def _list(given: Any, _: Mapping[str, Any]) -> str:
    if given is None or isinstance(given, dict):
        return "a list, such as [cat, dog]" if given is None else f"a list: {flow(list(given))}"
    parts = re.split(r"\s*,\s*", given.strip()) if isinstance(given, str) else [given]
    return f"a list: {flow([part for part in parts if part != ''])}"


def _group(given: Any, _: Mapping[str, Any]) -> str:
    names = given if isinstance(given, list) else [given]
    if names and all(isinstance(name, str) and name for name in names):
        return f"a group of keys: {{{', '.join(f'{_scalar(name)}: {{}}' for name in names)}}}"
    return "a group of keys"


def _number(given: Any, _: Mapping[str, Any]) -> str:
    if isinstance(given, str) and re.fullmatch(r"-?\d+,\d+", given.strip()):
        return f"a number, with a point: {given.strip().replace(',', '.')}"
    return "a number"


def _fixed(wanted: str) -> Wanted:
    return lambda _, context: wanted.format(**context)


_WHOLE, _TRUTH = _fixed("a whole number"), _fixed("true or false")
#: Pydantic's type of a fault -> what the key must be.
WANTED: dict[str, Wanted] = {
    "string_type": _text,
    "string_too_short": _fixed("text of at least {min_length} characters"),
    "string_too_long": _fixed("text of at most {max_length} characters"),
    "string_pattern_mismatch": _fixed("text of the form {pattern}"),
    "tuple_type": _list,
    "list_type": _list,
    "set_type": _list,
    "frozen_set_type": _list,
    "too_short": _fixed("a list of at least {min_length}"),
    "too_long": _fixed("a list of at most {max_length}"),
    "dict_type": _group,
    "mapping_type": _group,
    "model_type": _fixed("a group of keys ({keys})"),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _number,
    "float_parsing": _number,
    "finite_number": _fixed("a finite number"),
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "none_required": _fixed("null"),
    "greater_than": _fixed("above {gt}"),
    "greater_than_equal": _fixed("at least {ge}"),
    "less_than": _fixed("below {lt}"),
    "less_than_equal": _fixed("at most {le}"),
    "multiple_of": _fixed("a multiple of {multiple_of}"),
    "literal_error": _fixed("{expected}"),
    "enum": _fixed("{expected}"),
    "path_type": _fixed("a path"),
}


def wanted(error: Mapping[str, Any], keys: Sequence[str] = ()) -> str | None:
    """What a value must be, from one of pydantic's error details; None if the table lacks it.

    `keys`: those of the group at this place, if a group belongs there.
    """
    words = WANTED.get(error["type"])
    if words is None:
        return None
    context = {
        name: f"{limit:g}" if isinstance(limit, float) else limit
        for name, limit in error.get("ctx", {}).items()
    }
    listed = ", ".join(keys[:MOST_KEYS]) + (", ..." if len(keys) > MOST_KEYS else "")
    return words(error["input"], {**context, "keys": listed})


def in_words(error: Mapping[str, Any]) -> str:
    """One of pydantic's error details in these words, without its key."""
    if error["type"] == "missing":
        return "missing"
    if want := wanted(error):
        return f"must be {want}{shown(error['input'])}"
    given = "" if error["input"] is None else shown(error["input"])
    return str(error["msg"]).removeprefix("Value error, ") + given


def shown(given: Any) -> str:
    """The value as the file has it, in brackets; empty for groups, which may be long."""
    if given is None or isinstance(given, bool):
        return f" (got {'nothing' if given is None else str(given).lower()})"
    text = repr(given)
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
    return "" if isinstance(given, dict) else f" (got {short})"


def flow(values: Any) -> str:
    """A list as YAML writes it in one line."""
    if isinstance(values, list | tuple):
        return f"[{', '.join(flow(one) for one in values)}]"
    return _scalar(values)


def _scalar(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w ./-]*", value)
    return str(value) if plain or not isinstance(value, str) else repr(value)
