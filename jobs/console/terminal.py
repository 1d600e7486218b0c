"""The terminal of all commands. What it is given, it prints literally.

A path, an error or a value of a config may hold anything: `run [bold]x` is no markup, and a file
name with escape codes must not reach the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

#: Control characters, and Unicode's signs that reorder or hide text ("Trojan source"). A line break
#: and a tab keep their meaning; see `one_line`.
_CONTROLS = [*range(0x09), 0x0B, 0x0C, 0x0D, *range(0x0E, 0x20), *range(0x7F, 0xA0)]
_HIDING = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
_SURROGATES = range(0xD800, 0xE000)  # cannot be encoded: bytes of a name that is not UTF-8


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_VISIBLE = {code: _escape(code) for code in [*_CONTROLS, *_HIDING, *_SURROGATES]}
_ONE_LINE = _VISIBLE | {0x0A: "\\n", 0x09: "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def visible(text: str) -> str:
    """`text` with control characters as escapes, `\\x1b`; line breaks and tabs stay."""
    return text.translate(_VISIBLE)


def one_line(text: str) -> str:
    """The same for a name: also line breaks are escapes, so that it cannot fake a line."""
    return text.translate(_ONE_LINE)


class Terminal(Console):
    """A console without markup. Use `style=`, `Text` or `marked` for colours."""

    def __init__(self, **settings: Any) -> None:
        """`settings`: those of `rich.console.Console`."""
        super().__init__(**{"markup": False, "emoji": False} | settings)

    def render_str(self, text: str, **how: Any) -> Text:
        """Makes texts visible before they are measured, for cells of tables."""
        return super().render_str(visible(text), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Makes all others visible: `Text`, JSON. Rich's own codes are no text."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=visible(segment.text))


def marked(console: Console, mark: str, text: str, style: str = "bold yellow") -> None:
    """Print `MARK: text`, literally, with the mark in a style."""
    begun(console, mark, f": {text}", style)


def begun(console: Console, start: str, rest: str, style: str = "bold") -> None:
    """Print a line, literally, with its start in a style."""
    line = Text.assemble((visible(start), style), visible(rest))  # Text itself drops some codes
    console.print(line, highlight=False, soft_wrap=True)
