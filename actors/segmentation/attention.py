"""Attention as two matrix products, for bfloat16 on CPUs without AMX."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

BY_PRODUCTS = "nightjar_by_products"  #: its name in the library's registry
_MOST_WEIGHTS = 2**24  # per step; a head of sam2.1-hiera's global attention at 1024 px has 2**24


def by_products(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Softmax attention that materialises the weights of a head; for inference only.

    torch's CPU kernel does not materialise them, but its bfloat16 products are fast only with AMX.
    Without AMX it takes 0.29 s for 4 heads of 4096 x 4096 weights (one core), this function 0.10.

    Args:
        module: ignored, like `kwargs` (dropout, is_causal).
        query: (batch, heads, n, channels); `key` and `value` are (batch, heads, m, channels).
        attention_mask: must be None, as in image encoders; else NotImplementedError.
        scaling: factor of the logits; None: 1 / sqrt(channels).

    Returns:
        (batch, n, heads, channels), and no weights.
    """
    if attention_mask is not None:
        raise NotImplementedError("attention masks are not supported; image encoders have none")
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if query.shape[:-1].numel() * key.shape[-2] <= _MOST_WEIGHTS:
        out = _attended(query, key, value)
    else:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        for image in range(len(query)):
            for head in range(query.shape[1]):
                at = (image, head)
                out[at] = _attended(query[at], key[at], value[at])
    return out.transpose(1, 2).contiguous(), None


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query @ key.transpose(-1, -2), -1) @ value


def attend_fast(encoder: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> None:
    """Use `by_products` in an image encoder if that is faster."""
    without_amx = not torch.cpu.get_capabilities().get("amx_bf16")
    if device.type == "cpu" and dtype == torch.bfloat16 and without_amx:
        encoder.set_attn_implementation(BY_PRODUCTS)


AttentionInterface.register(BY_PRODUCTS, by_products)
