"""Runs in the Python of an environment: which modules it can import, and which device it has.

    PYTHON -m jobs.commands.engines.probe MODULE ...

Prints one JSON object on the last line. Needs the standard library only, so that it also answers
in an environment that lacks packages.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from importlib import metadata
from typing import Any


def main() -> None:
    """Print the answer for the modules on the command line."""
    faults = {module: _fault(module) for module in sys.argv[1:]}
    found = {
        "python": platform.python_version(),
        "versions": {one.name.lower(): one.version for one in metadata.distributions()},
        "faults": {module: fault for module, fault in faults.items() if fault},
        "device": _device(),
    }
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def _fault(module: str) -> str:
    try:
        importlib.import_module(module)
    except BaseException as error:  # a broken binary may exit or raise anything
        return f"{type(error).__name__}: {error}"
    return ""


def _device() -> str:
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    runtime: Any = sys.modules.get("onnxruntime")
    gpu = runtime is not None and "CUDAExecutionProvider" in runtime.get_available_providers()
    return "cuda" if gpu else "cpu"


if __name__ == "__main__":
    main()
