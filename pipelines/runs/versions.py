"""Versions of the packages that can change a result, for run.json."""

from __future__ import annotations

import platform
from importlib import metadata

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
