"""docling's layout model as the benchmark makes it."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoModelForObjectDetection

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from parts.docling_models import LABELS, lay_out


def test_the_layout_model_has_its_size_and_finds_nothing(tmp_path: Path) -> None:
    models = lay_out(tmp_path / "models")
    heron = models / "docling-project--docling-layout-heron"
    model = AutoModelForObjectDetection.from_pretrained(heron).eval()
    assert sum(weights.numel() for weights in model.parameters()) == 42_761_907
    assert [*model.config.id2label.values()] == LABELS
    pixels = torch.rand(1, 3, 640, 640, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = model(pixels).logits.sigmoid()
    assert scores.shape == (1, 300, 17)
    assert 0.005 < scores.min() <= scores.max() < 0.02  # docling asks for 0.3
    assert AutoImageProcessor.from_pretrained(heron).size == {"height": 640, "width": 640}
    assert len([*(models / "RapidOcr").glob("*.onnx")]) == 3


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "mine").touch()
    assert [one.name for one in lay_out(models).iterdir()] == ["mine"]
