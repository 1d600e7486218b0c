"""Commands of `nightjar`, from typer's own objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

import typer

from generator.markdown import MADE, code, prose, sentence, table
from jobs.cli import app

_TYPES = {"str": "TEXT", "int": "INTEGER", "float": "NUMBER", "Path": "PATH"}

_HEAD = """{made}

# The command line

`nightjar COMMAND --help` prints the same. Exit codes are in
[troubleshooting](../troubleshooting.md#exit-codes).
"""


class Command(NamedTuple):
    """A command without subcommands. `words`: the words before its arguments."""

    words: str
    command: Any


def page() -> str:
    """The reference page of the command line."""
    parts = [_HEAD.format(made=MADE)]
    index = [
        (f"[{code(one.words)}](#{_anchor(one.words)})", _says(one.command).partition("\n")[0])
        for one in commands()
    ]
    parts.append(table(("command", "what it does"), index) + "\n")
    parts += [_section(one) for one in commands()]
    return "\n".join(parts)


def commands() -> list[Command]:
    """Every command, by name."""
    return sorted(_below("nightjar", typer.main.get_command(app)))


def _below(words: str, command: Any) -> Iterator[Command]:
    below = getattr(command, "commands", None)
    if below is None:
        yield Command(words, command)
        return
    for name, one in below.items():
        # `curate RUN`: this subcommand has the name of its argument, and is not typed.
        yield from _below(words if name.isupper() else f"{words} {name}", one)


def _section(one: Command) -> str:
    parts = [f"## {code(one.words)}\n"]
    parts += [f"{sentence(part)}\n" for part in _says(one.command).split("\n")]
    arguments = [p for p in one.command.params if p.param_type_name == "argument"]
    options = [p for p in one.command.params if p.param_type_name == "option"]
    parts.append(f"```text\n{_usage(one, arguments, options)}\n```\n")
    if arguments:
        rows = [(code(_name(p)), _meaning(p)) for p in arguments]
        parts.append(table(("argument", "meaning"), rows) + "\n")
    if options:
        wide = [(_spelled(p), _default(p), _meaning(p)) for p in options]
        parts.append(table(("option", "default", "meaning"), wide) + "\n")
    return "\n".join(parts)


def _says(command: Any) -> str:
    """The help of a command, one line for each paragraph."""
    paragraphs = (command.help or "").split("\n\n")
    return "\n".join(prose(paragraph) for paragraph in paragraphs)


def _usage(one: Command, arguments: list[Any], options: list[Any]) -> str:
    words = [one.words]
    words += [_name(p) if p.required else f"[{_name(p)}]" for p in arguments]
    if one.command.context_settings.get("allow_extra_args"):
        words.append("[NAME [ARGUMENTS]]")
    must = [p for p in options if p.required]
    words += [f"{p.opts[0]} {_holds(p)}" for p in must]
    return " ".join([*words, "[OPTIONS]"] if len(options) > len(must) else words)


def _name(parameter: Any) -> str:
    return parameter.metavar or str(parameter.name).upper()


def _spelled(parameter: Any) -> str:
    """`--follow`, `-f`; `--set A.B=C`."""
    names = [*parameter.opts, *parameter.secondary_opts]
    held = "" if parameter.is_flag else f" {_holds(parameter)}"
    return ", ".join(code(f"{name}{held}") for name in names)


def _holds(parameter: Any) -> str:
    """The placeholder of an option's value."""
    if parameter.metavar:
        return str(parameter.metavar)
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    return _TYPES.get(getattr(annotation, "__name__", ""), "TEXT")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.is_flag:
        return code(parameter.opts[0]) if parameter.default else "off"
    return "" if parameter.default is None else code(str(parameter.default))


def _meaning(parameter: Any) -> str:
    text = parameter.help or ""
    low, high = parameter.min, parameter.max
    if low is not None and high is not None:
        text += f"; {low} to {high}"
    elif low is not None and low != 0:
        text += f"; at least {low}"
    if parameter.envvar:
        text += f"; the environment variable `{parameter.envvar}` also sets it"
    return sentence(text) if text else ""


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return heading.lower().replace(" ", "-")
