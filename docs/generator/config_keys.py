"""Config keys of each job, from the JSON schema of its pydantic models.

Groups are followed into dotted keys: `key.NAME.x` for a mapping of names, `key[].x` for a list.
A key that can hold one of several groups has a section for each of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from generator.markdown import MADE, code, prose, sentence, table
from pipelines.job import find_job

Schema = Mapping[str, Any]

_HEAD = """{made}

# Config keys of `{job}`

Keys are dotted: `source.path` is the key `path` in the group `source`. `nightjar run CONFIG --set
source.path=scans/` sets one on the command line. `NAME` stands for a name of your choice, `[]` for
each item of a list. Unknown keys are refused. `nightjar config check CONFIG` checks a file,
`nightjar config schema {job}` prints the JSON Schema for an editor.
"""
_NOTHING = object()
_LONGEST_DEFAULT = 60
_PLURALS = {name: f"{name}s" for name in ("string", "integer", "number", "group", "path")}
_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


class Key(NamedTuple):
    """One row of a table."""

    name: str
    type: str
    default: str
    description: str


class Section(NamedTuple):
    """A heading with its text and its keys."""

    level: int
    title: str
    text: str
    keys: list[Key]


def page(job: str) -> str:
    """The reference page of the job's config."""
    parts = [_HEAD.format(made=MADE, job=job)]
    for section in sections(job):
        parts.append(f"{'#' * section.level} {section.title}\n")
        if section.text:
            parts.append(f"{section.text}\n")
        if section.keys:
            rows = [
                (code(one.name), one.type, one.default, one.description) for one in section.keys
            ]
            parts.append(table(("key", "type", "default", "meaning"), rows) + "\n")
    return "\n".join(parts)


def sections(job: str) -> Iterator[Section]:
    """The sections of the page: keys without a group, then each group."""
    schema = find_job(job).config.model_json_schema()
    walk = _Walk(schema.get("$defs", {}))
    required = schema.get("required", ())
    tops = [
        # `job` has a default in each model, but a file needs it to choose the model.
        _Member(name, value, name in (*required, "job"), value.get("default", _NOTHING))
        for name, value in schema["properties"].items()
    ]
    plain = [top for top in tops if not walk.groups(top.schema)]
    yield Section(2, "Keys without a group", "", [walk.key(top) for top in plain])
    for top in tops:
        if top not in plain:
            yield from walk.section(top, 2)


class _Member(NamedTuple):
    """A property in its place. `default`: its value if the file does not have it."""

    name: str
    schema: Schema
    required: bool
    default: Any


class _Walk:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def section(self, top: _Member, level: int) -> Iterator[Section]:
        """A top-level group: one table, and sections for keys with several possible groups."""
        keys: list[Key] = []
        later: list[Section] = []
        self._collect(top, keys, later, level, ())
        yield Section(level, code(top.name), "", keys)
        yield from later

    def key(self, member: _Member) -> Key:
        """The row of a property."""
        return Key(
            member.name,
            self._type(member.schema),
            self._default(member),
            sentence(self._description(member.schema)),
        )

    def groups(self, schema: Schema) -> list[tuple[str, str]]:
        """(suffix of the key, name of the definition) of each possible group."""
        return [
            (suffix, self._name(one))
            for option in _options(schema)
            for suffix, one in [_unpacked(option)]
            if "$ref" in one
        ]

    def _collect(
        self,
        member: _Member,
        keys: list[Key],
        later: list[Section],
        level: int,
        above: tuple[str, ...],
    ) -> None:
        """Add the rows of a member and of the keys below it, and sections for group choices."""
        keys.append(self.key(member))
        groups = [one for one in self.groups(member.schema) if one[1] not in above]
        others = [one for one in _options(member.schema) if not _is_null(one)]
        if len(others) == 1 and groups:
            suffix, name = groups[0]
            for below in self._members(member, suffix, name):
                self._collect(below, keys, later, level, (*above, name))
            return
        shared = self._shared(groups)
        for suffix, name in groups:
            here: list[Key] = []
            section = Section(level + 1, self._title(member, suffix, name), self._about(name), here)
            later.append(section)
            for below in self._members(member, suffix, name):
                if below.name.rpartition(".")[2] in shared:
                    here.append(self.key(below))
                else:
                    self._collect(below, here, later, level + 1, (*above, name))
        for short in shared:
            suffix, name = groups[0]
            below = next(
                one
                for one in self._members(member, suffix, name)
                if one.name.rpartition(".")[2] == short
            )
            own: list[Key] = []
            later.append(Section(level + 1, code(below.name), "", own))
            self._collect(below, own, later, level + 1, above)
            del own[0]  # the sections above have this row

    def _shared(self, groups: list[tuple[str, str]]) -> list[str]:
        """Names of properties that hold the same group in all of several groups."""
        if len(groups) < 2:
            return []
        first, *rest = (self._definitions[name].get("properties", {}) for _, name in groups)
        return [
            name
            for name, value in first.items()
            if "$ref" in value
            and all(other.get(name, {}).get("$ref") == value["$ref"] for other in rest)
        ]

    def _members(self, member: _Member, suffix: str, name: str) -> Iterator[_Member]:
        definition = self._definitions[name]
        above = {} if suffix else member.default
        for short, value in definition.get("properties", {}).items():
            yield _Member(
                f"{member.name}{suffix}.{short}",
                value,
                short in definition.get("required", ()),
                above[short] if _has(above, short) else value.get("default", _NOTHING),
            )

    def _title(self, member: _Member, suffix: str, name: str) -> str:
        engine = self._definitions[name]["properties"].get("engine", {}).get("const")
        place = code(f"{member.name}{suffix}")
        return f"{place} with `engine: {engine}`" if engine else f"{place} as a group"

    def _about(self, name: str) -> str:
        return sentence(_about(self._definitions[name].get("description", "")))

    def _name(self, reference: Schema) -> str:
        return str(reference["$ref"]).rpartition("/")[2]

    def _description(self, schema: Schema) -> str:
        """Its own, else the first paragraph about the group that it holds."""
        if "const" in schema and "description" not in schema:
            return f"selects this group of keys: `{schema['const']}`"
        if "description" in schema:
            return str(schema["description"])
        groups = self.groups(schema)
        if len(groups) == 1:
            return _about(self._definitions[groups[0][1]].get("description", ""))
        return ""

    def _type(self, schema: Schema) -> str:
        return _one_of([self._type_of(one) for one in _options(schema)])

    def _type_of(self, schema: Schema) -> str:
        if "$ref" in schema:
            found = self._definitions[self._name(schema)]
            if "properties" not in found:
                return self._type(found)
            engine = found["properties"].get("engine", {}).get("const")
            return f"group (`{engine}`)" if engine else "group"
        if "const" in schema:
            return code(str(schema["const"]))
        if "enum" in schema:
            return _one_of([code(str(one)) for one in schema["enum"]])
        if schema.get("type") == "array":
            held = self._type(schema.get("items", {}))
            return f"list of {_PLURALS.get(held, held)}"
        if schema.get("type") == "object":
            inner = schema.get("additionalProperties")
            held = self._type(inner) if isinstance(inner, dict) and inner else "any value"
            return f"mapping of names to {_PLURALS.get(held, held)}"
        return _scalar(schema)

    def _default(self, member: _Member) -> str:
        if member.required:
            return "required"
        first = member.default
        if first is _NOTHING:  # the schema does not have defaults from a factory
            return code({"object": "{}", "array": "[]"}[member.schema["type"]])
        if len(self.groups(member.schema)) == 1 and isinstance(first, dict):
            return "see below" if first else code("{}")
        return _value(first)


def _has(held: Any, name: str) -> bool:
    return isinstance(held, dict) and name in held


def _options(schema: Schema) -> list[Schema]:
    """The possible schemas of a value; nested choices are flattened."""
    choices = schema.get("anyOf") or schema.get("oneOf")
    if not choices:
        return [schema]
    return [option for one in choices for option in _options(one)]


def _unpacked(schema: Schema) -> tuple[str, Schema]:
    """(`[]` or `.NAME`, schema of the items), or ("", the schema itself)."""
    if schema.get("type") == "array" and "$ref" in schema.get("items", {}):
        return "[]", schema["items"]
    inner = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(inner, dict) and "$ref" in inner:
        return ".NAME", inner
    return "", schema


def _one_of(names: list[str]) -> str:
    """`a, b or null`; each name once."""
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} or {last}" if most else last


def _about(text: str) -> str:
    """The first paragraph of a docstring, without sentences that refer to the code."""
    sentences = re.split(r"(?<=[.?!]) ", prose(text.split("\n\n")[0]))
    return " ".join(one for one in sentences if not re.search(r"`(actors|pipelines)\.", one))


def _is_null(schema: Schema) -> bool:
    return schema.get("type") == "null"


def _scalar(schema: Schema) -> str:
    """`integer, ≥ 1`; a share is `number, 0 to 1`."""
    name = {"null": "null", None: "any value"}.get(schema.get("type"), str(schema.get("type")))
    if schema.get("format") == "path":
        name = "path"
    if schema.get("minimum") == 0 and schema.get("maximum") == 1:
        return f"{name}, 0 to 1"
    bounds = [f"{sign} {schema[word]:g}" for word, sign in _BOUNDS if word in schema]
    if "multipleOf" in schema:
        bounds.append(f"multiple of {schema['multipleOf']}")
    return ", ".join([name, *bounds])


def _value(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        text = f"{value:g}"
    if len(text) > _LONGEST_DEFAULT:
        return f"{code(text[:_LONGEST_DEFAULT].rstrip())} ..."
    return code(text)
