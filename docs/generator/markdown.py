"""Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SIGNS = re.compile(r"[<*]")
MADE = "<!-- Made by docs/reference.py from the code. Do not edit. -->"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. Cells are text with `code`; Markdown's signs are escaped outside of code."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """`text` as code."""
    return f"`{text}`"


def prose(text: str) -> str:
    """A docstring or description as Markdown on one line: ``x`` is `x`."""
    return " ".join(text.split()).replace("``", "`")


def sentence(text: str) -> str:
    """`text` from a capital letter to a full stop; names, and values before a colon, stay."""
    text = prose(text)
    first = text.split(" ")[0]
    if re.fullmatch(r"[a-z]+[,;]?", first):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _cell(text: str) -> str:
    parts = text.split("`")  # odd ones are code
    plain = [one if at % 2 else _SIGNS.sub(r"\\\g<0>", one) for at, one in enumerate(parts)]
    return "`".join(plain).replace("|", r"\|").replace("\n", " ")
