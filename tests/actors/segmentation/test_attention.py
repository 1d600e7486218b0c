"""Attention by matrix products against torch's own kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_sam2 import SIZE, tiny_checkpoint
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import Sam2Model

from actors.segmentation.attention import _MOST_WEIGHTS, BY_PRODUCTS, by_products
from actors.segmentation.sam2_packed import PackedSam2

#: (batch, heads, queries, keys): in one product, pooled queries, head by head.
SHAPES = [(2, 3, 50, 50), (3, 2, 16, 64), (2, 4, 2100, 2100)]


def tensors(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    batch, heads, queries, keys = shape
    generator = torch.Generator().manual_seed(queries)
    query = torch.randn(batch, heads, queries, 24, generator=generator)
    key, value = torch.randn(2, batch, heads, keys, 24, generator=generator)
    return query, key, value


@pytest.mark.parametrize("scaling", [None, 0.05])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_equals_torch(shape: tuple[int, int, int, int], scaling: float | None) -> None:
    query, key, value = tensors(shape)
    ours, weights = by_products(nn.Identity(), query, key, value, None, scaling=scaling)
    theirs = scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2)
    assert weights is None
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_bfloat16_rounds_its_weights_alone() -> None:
    query, key, value = tensors(SHAPES[0])
    exact = scaled_dot_product_attention(query, key, value).transpose(1, 2)
    given = (part.bfloat16() for part in (query, key, value))
    ours, _ = by_products(nn.Identity(), *given, None)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), exact, rtol=0, atol=0.03)


def test_the_shapes_above_reach_both_ways() -> None:
    counts = [batch * heads * queries * keys for batch, heads, queries, keys in SHAPES]
    assert min(counts) < _MOST_WEIGHTS < max(counts)


def test_a_mask_is_refused() -> None:
    query, key, value = tensors(SHAPES[0])
    with pytest.raises(NotImplementedError, match="mask"):
        by_products(nn.Identity(), query, key, value, torch.zeros(50, 50))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_image_encoder_has_it_where_it_is_faster(tmp_path: Path, dtype: torch.dtype) -> None:
    checkpoint = tiny_checkpoint(tmp_path)
    pixels = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    model = Sam2Model.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        exact = model.get_image_embeddings(pixels)
    packed = PackedSam2(model, torch.device("cpu"), dtype)
    without_amx = not torch.cpu.get_capabilities().get("amx_bf16")
    fast = dtype == torch.bfloat16 and without_amx
    assert (model.vision_encoder.config._attn_implementation == BY_PRODUCTS) == fast
    assert model.mask_decoder.config._attn_implementation != BY_PRODUCTS
    for number, features in enumerate(packed.embed(list(pixels))):
        for level, wanted in zip(features, exact, strict=True):
            apart = (level.float() - wanted[number]).abs().mean() / wanted[number].abs().mean()
            assert apart < (0.02 if dtype == torch.bfloat16 else 1e-5)
