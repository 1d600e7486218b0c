"""Our deformable attention against the library's and against values computed by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_grounding_dino import processor, save, tiny_model
from torch import Tensor
from transformers.models.grounding_dino.modeling_grounding_dino import (
    MultiScaleDeformableAttention,
)

from actors.detection.grounding.deformable import GatheredAttention, gather_samples
from actors.detection.grounding.weights import load_grounding_dino
from actors.hub_model import HubModel

SHAPES = {
    "levels of a photo": [(40, 54), (20, 27), (10, 14), (5, 7)],
    "a strip": [(3, 200), (2, 100)],
    "one cell": [(1, 1)],
}


def inputs(
    shapes: list[tuple[int, int]], batch: int, queries: int, heads: int = 4, points: int = 3
) -> tuple[Tensor, Tensor, Tensor]:
    """Value, places (a third of them outside of their level) and weights, seeded."""
    generator = torch.Generator().manual_seed(len(shapes) + queries)
    cells = sum(height * width for height, width in shapes)
    value = torch.randn(batch, cells, heads, 8, generator=generator)
    size = (batch, queries, heads, len(shapes), points)
    places = torch.rand(*size, 2, generator=generator) * 1.6 - 0.3
    weights = torch.rand(size, generator=generator)
    return value, places, weights / weights.sum((-1, -2), keepdim=True)


@torch.inference_mode()
def attended(attention: Any, shapes: list[tuple[int, int]], *tensors: Tensor) -> Tensor:
    value, places, weights = tensors
    answer: Tensor = attention(
        value, torch.tensor(shapes), shapes, torch.tensor([0]), places, weights, 64
    )
    return answer


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("queries", [1, 256, 700])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_it_equals_the_library(shapes: list[tuple[int, int]], queries: int, batch: int) -> None:
    given = inputs(shapes, batch, queries)
    ours = attended(GatheredAttention(), shapes, *given)
    theirs = attended(MultiScaleDeformableAttention(), shapes, *given)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("beyond", [-1e9, -1.0, 2.0, 1e9, float("inf"), float("-inf")])
def test_samples_outside_of_a_level_are_zero(beyond: float) -> None:
    shapes = [(4, 5)]
    value, places, weights = inputs(shapes, 1, 2)
    places[:, 0] = beyond
    out = attended(GatheredAttention(), shapes, value, places, weights)
    assert (out[0, 0] == 0).all()
    assert (out[0, 1] != 0).any()


def test_the_centre_of_each_cell_is_that_cell() -> None:
    shapes = [(3, 4), (2, 2)]
    value, _, _ = inputs(shapes, 1, 1, heads=1)
    centres = [
        [(x + 0.5) / width, (y + 0.5) / height]
        for height, width in shapes
        for y, x in itertools.product(range(height), range(width))
    ]
    places = torch.zeros(1, len(centres), 1, len(shapes), 1, 2)
    weights = torch.zeros(1, len(centres), 1, len(shapes), 1)
    for query, centre in enumerate(centres):
        level = int(query >= 12)
        places[0, query, 0, level, 0] = torch.tensor(centre)
        weights[0, query, 0, level, 0] = 1
    out = attended(GatheredAttention(), shapes, value, places, weights)
    torch.testing.assert_close(out[0], value[0, :, 0], rtol=0, atol=1e-5)


def test_a_place_that_is_no_number_hurts_no_other_query() -> None:
    shapes = SHAPES["levels of a photo"]
    value, places, weights = inputs(shapes, 2, 300)
    places[0, 7, 1, 2, 0] = 0.5
    sound = attended(GatheredAttention(), shapes, value, places, weights)
    places[0, 7, 1, 2, 0] = float("nan")
    out = attended(GatheredAttention(), shapes, value, places, weights)
    hurt = (out != sound).any(-1)
    assert hurt.nonzero().tolist() == [[0, 7]]


def test_it_answers_in_the_dtype_of_its_values() -> None:
    shapes = SHAPES["a strip"]
    value, places, weights = inputs(shapes, 1, 5)
    out = attended(GatheredAttention(), shapes, value.bfloat16(), places, weights.bfloat16())
    assert out.dtype == torch.bfloat16
    exact = attended(MultiScaleDeformableAttention(), shapes, value, places, weights)
    torch.testing.assert_close(out.float(), exact, rtol=0, atol=0.03)


@pytest.mark.parametrize("kind", ["grounding-dino", "mm-grounding-dino"])
def test_every_layer_of_a_loaded_model_has_it(kind: str, tmp_path: Path) -> None:
    folder = save(tmp_path, tiny_model(kind), processor())
    loaded = load_grounding_dino(HubModel(model=str(folder), local_files_only=True, device="cpu"))
    layers = [type(module).__name__ for module in loaded.model.modules()]
    assert layers.count("GatheredAttention") == 4  # two layers of the encoder, two of the decoder
    assert "MultiScaleDeformableAttention" not in layers


def test_a_model_without_such_attention_is_left_alone() -> None:
    model = torch.nn.TransformerEncoderLayer(8, 2)
    before = [type(module) for module in model.modules()]
    gather_samples(model)
    assert [type(module) for module in model.modules()] == before
