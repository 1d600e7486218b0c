"""All weights are converted to autodistill's format; the config of our job is valid."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_grounding_dino import processor, save, tiny_model
from transformers import GroundingDinoConfig
from transformers.models.bert.modeling_bert import BertModel

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import labelling_peers as peers
from parts.labelling import groundingdino_format as theirs

from pipelines.autolabel import AutolabelConfig

ROOT = Path(__file__).parents[2]
#: Of rf-groundingdino 0.1.2's own model, numbers of layers as N.
NAMES = ROOT / "tests/resources/groundingdino_names.txt"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grounding_dino")
    return save(folder, tiny_model("grounding-dino"), processor())


@pytest.fixture(scope="module")
def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


def test_every_weight_gets_a_name_of_theirs_and_none_is_lost(
    weights: dict[str, torch.Tensor],
) -> None:
    found = theirs.state_dict(weights)
    assert {re.sub(r"(?<=\.)\d+(?=\.)", "N", name) for name in found} == set(
        NAMES.read_text().split()
    )
    used = [value for name, value in weights.items() if not theirs.UNUSED.search(name)]
    assert sum(v.numel() for v in found.values()) == sum(v.numel() for v in used)
    assert len(used) >= len(weights) - 2  # the backbone's last norm, which nothing reads


def test_projections_are_one_matrix_queries_first(weights: dict[str, torch.Tensor]) -> None:
    found = theirs.state_dict(weights)
    whole = found["transformer.decoder.layers.1.ca_text.in_proj_weight"]
    parts = [
        weights[f"model.decoder.layers.1.encoder_attn_text.{part}.weight"]
        for part in ("query", "key", "value")
    ]
    assert torch.equal(whole, torch.cat(parts))
    assert found["backbone.0.layers.2.blocks.1.attn.qkv.bias"].shape == (3 * 16 * 4,)


def test_a_name_that_the_package_has_no_place_for_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no place for model\.new_part"):
        theirs.state_dict({"model.new_part.weight": torch.zeros(1)})


def test_the_settings_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    config = GroundingDinoConfig(num_queries=300).to_dict()
    read: dict[str, Any] = {}
    exec(theirs.settings(config, tmp_path), read)
    assert read["backbone"] == "swin_T_224_1k"
    assert (read["num_queries"], read["enc_layers"], read["hidden_dim"]) == (300, 6, 256)
    assert read["text_encoder_type"] == str(tmp_path)


def test_a_backbone_that_the_package_does_not_have_is_an_error(
    checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"no Swin of \(16, "):
        theirs.write_home(checkpoint, tmp_path)


def test_the_home_holds_settings_weights_and_a_text_encoder(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(theirs.BACKBONES, (16, (1, 1, 2, 1), 4), "swin_tiny")
    theirs.write_home(checkpoint, tmp_path)
    cache = tmp_path / theirs.CACHE
    stored = torch.load(cache / theirs.WEIGHTS)["model"]
    words = BertModel.from_pretrained(cache / theirs.TEXT).embeddings.word_embeddings.weight
    assert torch.equal(words, stored["bert.embeddings.word_embeddings.weight"])
    assert "text_encoder_type" in (cache / theirs.SETTINGS).read_text()


def test_our_job_is_a_valid_one_without_masks(tmp_path: Path) -> None:
    task = peers.Task(
        ROOT / "configs/autolabel/pocket/detector",
        tmp_path,
        tmp_path,
        tmp_path,
        peers.NAMES[:5],
        0.4,
        4,
    )
    config = AutolabelConfig.model_validate(peers.config_of(task, tmp_path / "run", "float32"))
    assert config.segmenter is None
    assert not config.needs_masks
    assert [*config.detector.ontology.classes] == [*peers.NAMES[:5]]
    assert config.detector.dtype == "float32"
