"""Imports ultralytics (AGPL-3.0) without its side effects."""

from __future__ import annotations

import importlib
import os
import tempfile
from types import ModuleType

from PIL import Image

from actors.failures import SetupError

#: Read once at import (`ultralytics/utils/__init__.py` of 8.4). YOLO_OFFLINE also turns off usage
#: statistics, which ultralytics sends to Google Analytics after every `predict`.
QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}

_folders: list[tempfile.TemporaryDirectory[str]] = []  # deleted when the process ends


def ultralytics() -> ModuleType:
    """The imported package, without downloads, pip, statistics or files in the home directory.

    Its change to Pillow is undone. Its settings folder is YOLO_CONFIG_DIR; if that is not set, it
    is a temporary folder of this process. The import takes 0.3 s in addition to torch. We do not
    use `ultralytics.YOLO`, which takes seconds to import. Raises SetupError.
    """
    os.environ.update(QUIET)
    if "YOLO_CONFIG_DIR" not in os.environ:
        _folders.append(tempfile.TemporaryDirectory(prefix="nightjar-ultralytics-"))
        os.environ["YOLO_CONFIG_DIR"] = _folders[-1].name
    opened = Image.open
    try:
        package = importlib.import_module("ultralytics")
        importlib.import_module("ultralytics.nn.tasks")
    except ImportError as error:
        raise SetupError(
            f"engine yolo: cannot import the package ultralytics: {error}",
            "pip install 'nightjar[yolo]'. Its licence is AGPL-3.0: to ship or serve a product "
            "with it you must publish your code or buy a licence",
        ) from error
    # ultralytics replaces Image.open; its version asks for pi_heif if an image is broken.
    vars(Image)["open"] = opened
    return package
