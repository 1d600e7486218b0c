"""docling's models without a hub: a folder for its `--artifacts-path`.

OCR models: the ONNX files of our rapidocr wheel, the same as docling's. Layout model: heron, an
RT-DETRv2 on ResNet-50 with 17 classes and 42.8 M parameters (arXiv 2509.11720). Here it has random
weights, and every class scores 0.01. Each page therefore costs a full forward pass, and the result
is RapidOCR's lines of the whole page in docling's order.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

LABELS = [
    "caption",
    "footnote",
    "formula",
    "list_item",
    "page_footer",
    "page_header",
    "picture",
    "section_header",
    "table",
    "text",
    "title",
    "document_index",
    "code",
    "checkbox_selected",
    "checkbox_unselected",
    "form",
    "key_value_region",
]


def lay_out(folder: Path) -> Path:
    """Make `folder` (195 MB) if it does not exist, and return it."""
    if folder.exists():
        return folder
    from transformers import RTDetrImageProcessor

    from actors.ocr.pp_ocr.line_reader import wheel_models

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        heron = made / "docling-project--docling-layout-heron"
        _blind_layout_model().save_pretrained(heron)
        RTDetrImageProcessor().save_pretrained(heron)
        readers = made / "RapidOcr"
        readers.mkdir()
        for model in wheel_models().glob("*.onnx"):
            shutil.copy(model, readers)
        made.rename(folder)
    return folder


def _blind_layout_model() -> Any:
    import torch
    from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection

    torch.manual_seed(0)
    model = RTDetrV2ForObjectDetection(RTDetrV2Config(id2label=dict(enumerate(LABELS))))
    for head in model.model.decoder.class_embed:
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, math.log(0.01 / 0.99))
    return model
