"""The PP-OCR networks in rapidocr's wheel, in the model layout of PaddleOCR 3.

A model is a directory with `inference.onnx` and `inference.yml`. The YAML file describes the
preprocessing and the classes. The wheel lacks this file, so it is written to a cache, once per
machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from actors.ocr.pp_ocr.detection import LINE_HEIGHT
from actors.ocr.pp_ocr.line_reader import wheel_models
from actors.ocr.pp_ocr.shapes import LINE_WIDTHS

#: PaddleOCR's name -> file in rapidocr's wheel.
FILES = {
    "PP-OCRv6_small_det": "PP-OCRv6_det_small.onnx",
    "PP-OCRv6_small_rec": "PP-OCRv6_rec_small.onnx",
}

_HALF = [0.5, 0.5, 0.5]


def embedded(model: str) -> Path | None:
    """The directory of a model in the wheel; None for other models.

    Raises SetupError if rapidocr is not installed.
    """
    if model not in FILES:
        return None
    network = wheel_models() / FILES[model]
    recipe = yaml.safe_dump(_recipe(model, network), allow_unicode=True)
    digest = hashlib.sha256(network.read_bytes() + recipe.encode()).hexdigest()
    folder = _cache() / digest[:16] / model
    if not (folder / "inference.yml").is_file():
        _write(folder, network, recipe)
    return folder


def model_digest(folder: Path) -> str:
    """SHA-256 over the files of a model's directory, in order of file names."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _write(folder: Path, network: Path, recipe: str) -> None:
    """Write the directory atomically, because many workers start at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    shutil.copyfile(network, made / "inference.onnx")
    (made / "inference.yml").write_text(recipe, encoding="utf-8")
    try:
        made.rename(folder)
    except OSError:  # another worker was faster
        shutil.rmtree(made)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nightjar" / "paddle_ocr"


def _recipe(model: str, network: Path) -> dict[str, Any]:
    return {"Global": {"model_name": model}} | (
        _recogniser(network) if model.endswith("_rec") else _detector()
    )


def _detector() -> dict[str, Any]:
    normalise = {"mean": _HALF, "std": _HALF, "scale": 1 / 255, "order": "hwc"}
    steps = [{"DetResizeForTest": {}}, {"NormalizeImage": normalise}, {"ToCHWImage": {}}]
    return {
        "PreProcess": {"transform_ops": steps},
        "PostProcess": {"name": "DBPostProcess"},
    }


def _recogniser(network: Path) -> dict[str, Any]:
    """The config of a recogniser. Its minimum width is that of our shortest line, not PaddleOCR's
    320 columns of padding."""
    shape = [3, LINE_HEIGHT, LINE_WIDTHS.sizes[0]]
    return {
        "PreProcess": {"transform_ops": [{"RecResizeImg": {"image_shape": shape}}]},
        "PostProcess": {"name": "CTCLabelDecode", "character_dict": _characters(network)},
    }


def _characters(network: Path) -> list[str]:
    """The classes from the metadata of the ONNX file, without blank and space."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    found: list[str] = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    return found
