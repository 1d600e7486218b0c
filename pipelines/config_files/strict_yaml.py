"""YAML in which a key stands once and is text; PyYAML silently keeps the last of two equal keys."""

from __future__ import annotations

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
#: What YAML 1.1 takes an unquoted word for.
_MEANINGS = {
    "tag:yaml.org,2002:bool": "a truth value",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
}


class KeyFaults(ValueError):
    """Keys that stand twice or are no text; one line for each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def strict_load(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError for its grammar, KeyFaults for its keys."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        faults: list[str] = []
        _check(node, "", faults, set())
        if faults:
            raise KeyFaults(faults)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check(node: yaml.Node, place: str, faults: list[str], seen: set[int]) -> None:
    """Collect the faults of all mappings below a node. `place`: its dotted key."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, one in enumerate(node.value):
            _check(one, f"{place}.{number}" if place else str(number), faults, seen)
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                _check(value, place, faults, seen)
                continue
            name, line = str(key.value), key.start_mark.line + 1
            fault = _fault(key, name, lines.get(name), place)
            faults += [fault] if fault else []
            lines[name] = line
            _check(value, f"{place}.{name}" if place else name, faults, seen)


def _fault(key: yaml.Node, name: str, before: int | None, place: str) -> str | None:
    line = key.start_mark.line + 1
    where = f"{place}: " if place else ""
    if not isinstance(key, yaml.ScalarNode):
        return f"{where}a key in line {line} is a list or a group: a key must be a word"
    if key.tag != _TEXT:
        meaning = _MEANINGS.get(key.tag, "no text")
        written = f"the key {name}" if name else "an empty key"
        return f"{where}{written} in line {line} is {meaning} in YAML: quote it: {name!r}"
    if before is not None:
        lines = f"lines {before} and {line}" if before != line else f"line {line}"
        return f"{where}the key {name!r} stands twice, in {lines}: remove one"
    return None
