"""Weights in bfloat16 once: the same numbers as under autocast alone, bit by bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_grounding_dino import CLASSES, tiny_model
from tiny_sam3 import scattered, tiny_config
from torch import Tensor, nn

from actors.loading import narrow_products


def bytes_of(model: nn.Module) -> int:
    return sum(weight.nbytes for weight in model.parameters())


def same_after(model: nn.Module, names: tuple[str, ...], inputs: dict[str, Tensor]) -> bool:
    """Whether the outputs `names` are equal bit by bit before and after."""

    @torch.inference_mode()
    def answer() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            out: Any = model(**inputs)
        return [out[name] for name in names]

    before, size = answer(), bytes_of(model)
    narrow_products(model, torch.bfloat16)
    after = answer()
    assert bytes_of(model) < 0.9 * size
    assert [one.dtype for one in after] == [one.dtype for one in before]
    return all(map(torch.equal, after, before))


@pytest.mark.parametrize("kind", CLASSES)
def test_a_detector_gives_the_same_boxes(kind: str) -> None:
    torch.manual_seed(0)
    inputs = {
        "pixel_values": torch.randn(2, 3, 96, 128),
        "pixel_mask": torch.ones(2, 96, 128, dtype=torch.long),
        "input_ids": torch.tensor([[101, 200, 1012, 201, 1012, 102]]).expand(2, -1),
    }
    assert same_after(tiny_model(kind).eval(), ("logits", "pred_boxes"), inputs)


def test_sam3_gives_the_same_boxes_and_masks() -> None:
    config = tiny_config()
    model = scattered(config).eval()
    torch.manual_seed(0)
    side = config.vision_config.image_size
    inputs = {
        "pixel_values": torch.randn(1, 3, side, side),
        "input_ids": torch.tensor([[1, 5, 6, 2]]),
        "attention_mask": torch.ones(1, 4, dtype=torch.long),
    }
    assert same_after(model, ("pred_boxes", "pred_logits", "pred_masks"), inputs)


def test_float32_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    narrow_products(model, torch.float32)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    narrow_products(model, torch.bfloat16)
    assert [weight.dtype for weight in model.parameters()] == [torch.bfloat16] * 2 + [
        torch.float32
    ] * 2
