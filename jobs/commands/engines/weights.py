"""Where the weights of an engine are on this machine. Looks at the disk only, loads nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from actors.ocr.pp_ocr.paddle_models import FILES

_POCKET = Path(__file__).resolve().parents[3] / "configs" / "autolabel" / "pocket"

Look = Callable[[Path | None], str]


def pp_ocr(python: Path | None) -> str:
    """Networks in rapidocr's wheel: in the environment of `python`, or in our own for None."""
    from actors.failures import SetupError
    from actors.ocr.pp_ocr.line_reader import wheel_models

    if python is not None:
        folders = list(python.parent.parent.glob("lib/python3*/site-packages/rapidocr/models"))
    else:
        try:
            folders = [wheel_models()]
        except SetupError:
            return ""
    whole = [one for one in folders if all((one / name).is_file() for name in FILES.values())]
    return "PP-OCRv6 small, in rapidocr's wheel" if whole else ""


def server(variable: str) -> Look:
    """Weights of a server whose address is in an environment variable. The server is not called."""
    return lambda _: f"at {variable}" if variable in os.environ else f"at a server: set {variable}"


def tessdata(_: Path | None) -> str:
    """The languages whose data Tesseract finds without `tesseract.tessdata`."""
    from actors.failures import SetupError
    from actors.ocr.tesseract.language_data import data_folder, installed

    try:
        folder = data_folder(None)
    except SetupError as error:
        return f"none: {error.remedy.split(',')[0]}"
    return f"{', '.join(installed(folder)) or 'none'} in {folder}"


def in_config(where: str) -> Look:
    """Weights that only a config can name."""
    return lambda _: where


def checkpoints(*model_types: str) -> Look:
    """Checkpoints of these `model_type`s: in the hub's cache and among the pocket checkpoints."""

    def found(_: Path | None) -> str:
        names = [name for name, config in _configs() if config.get("model_type") in model_types]
        return ", ".join(names)

    return found


def timm_checkpoints(_: Path | None) -> str:
    """Backbones of timm in the hub's cache; `statistics` needs none."""
    names = [name for name, config in _configs() if "architecture" in config]
    return ", ".join([*names, "statistics needs none"])


def _configs() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, config.json) of every checkpoint whose weights are on disk."""
    cache = Path(constants.HF_HUB_CACHE)
    for folder in sorted(cache.glob("models--*/snapshots/*")):
        name = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
        yield from _config(name, folder)
    for folder in sorted(_POCKET.glob("*/")):
        yield from _config(f"pocket {folder.name}", folder)


def _config(name: str, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not any(folder.glob("*.safetensors")):
        return
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return
    if isinstance(config, dict):
        yield name, config
