"""Versions of the packages that can change a result, for run.json; columns of other versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

import pyarrow as pa

_PACKAGES = (
    "nightjar",
    "ray",
    "pyarrow",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "pypdfium2",
    "rapidocr",
    "onnxruntime",
    "openvino",
)


def versions() -> dict[str, str]:
    """Package name -> version, plus Python and platform; packages that are missing are left out."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def changed_columns(before: pa.Schema, now: pa.Schema) -> Iterator[str]:
    """Lines of text about the columns that were added, removed or got another type."""
    both = [name for name in now.names if name in before.names]
    for what, names in (
        ("new", [name for name in now.names if name not in before.names]),
        ("changed", [name for name in both if now.field(name).type != before.field(name).type]),
        ("gone", [name for name in before.names if name not in now.names]),
    ):
        if names:
            yield f"{what}: {', '.join(names)}"
