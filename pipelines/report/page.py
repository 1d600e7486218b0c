"""Render the template. Content of a run is escaped, and only our own script can run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

#: Characters that hide or reorder text (Unicode's "Trojan source" controls), and characters that
#: HTML does not allow. They are shown as code points.
_HIDING = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0xFEFF]
_CONTROLS = [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)]
_VISIBLE = {code: f"<U+{code:04X}>" for code in [*_HIDING, *_CONTROLS, *range(0xD800, 0xE000)]}


def render(context: Mapping[str, Any]) -> str:
    """The page as HTML. Its policy allows only our style and script, by their hashes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipelines.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )
    environment.filters |= {"share": share, "size": size}
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2").render(
        **context,
        style=Markup(style),
        script=Markup(script),
        style_hash=_digest(style),
        script_hash=_digest(script),
    )


def _asset(name: str) -> str:
    return resources.files("pipelines.report").joinpath(name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"


def visible(value: Any) -> Any:
    """Text with characters that hide or reorder text replaced by their code points."""
    return value.translate(_VISIBLE) if type(value) is str else value


def share(part: float, whole: float) -> str:
    """`12.3 %`. A count above 0 is never shown as 0 %, an incomplete count never as 100 %."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.05:
        return "< 0.1 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def size(count: float) -> str:
    """A number of bytes: `15.8 kB`, `2.3 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.1f} {unit}" if unit != "bytes" else f"{count:,.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
