"""Importing ultralytics (AGPL-3.0) without the things it does unasked."""

from __future__ import annotations

import importlib
import os
import tempfile
from types import ModuleType

from PIL import Image

from actors.failures import SetupError

#: Read once, when the package is imported (`ultralytics/utils/__init__.py` of 8.4). Offline also
#: switches off its usage statistics, which go to Google Analytics after every `predict`.
QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}

_folders: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


def ultralytics() -> ModuleType:
    """The package, imported: no downloads, no pip, no statistics, no file in the home directory,
    and Pillow as it was.

    It takes 0.3 s beside torch; `ultralytics.YOLO`, never touched here, takes seconds. It reads
    its settings from YOLO_CONFIG_DIR, a folder of this process where that is not set. Raises
    SetupError.
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
            f"engine yolo needs ultralytics, which cannot be imported: {error}",
            "pip install nightjar[yolo]; note its licence, AGPL-3.0: whoever ships or serves a "
            "product with it must publish their code or buy a licence",
        ) from error
    # Its own Image.open answers a broken picture by asking for pi_heif, in the whole process.
    vars(Image)["open"] = opened
    return package
