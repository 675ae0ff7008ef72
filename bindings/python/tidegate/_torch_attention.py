# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Attention without a mask array, for transformers' attn_implementation."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right

FLASH = "flash_lr"


def register_flash() -> str:
    """Registers the implementation "flash_lr" and returns its name, for
    model.set_attn_implementation(): FLASH with torch's lower-right causal bias on
    grouped heads. No mask array is made and no head repeated, so nothing in its
    price grows with the kv length alone. 16-bit types, head dims up to 256 that
    are the same for keys and values; no window, no padding, one prompt a batch."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(FLASH, _flash)
    AttentionMaskInterface.register(FLASH, _no_mask)
    return FLASH


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def _flash(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    if sliding_window is not None and key.shape[2] > sliding_window:
        raise ValueError(f"{FLASH}: expected attention without a window, got one of {sliding_window} tokens")
    bias = causal_lower_right(query.shape[2], key.shape[2])
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, scale=scaling, enable_gqa=key.shape[1] != query.shape[1]
        )
    return out.transpose(1, 2).contiguous(), None
