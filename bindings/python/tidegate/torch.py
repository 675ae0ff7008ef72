# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""torch: prompts of Hugging Face transformers models through a Gate.

    with tidegate.torch.prefill(gate, model, input_ids) as prompt:
        decode(prompt.cache, prompt.logits)

docs/engines/transformers.md says what happens when something fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ._engines import is_out_of_memory
from ._gate import Gate
from ._request import Request


@dataclasses.dataclass
class Memory:
    """One CUDA device, in bytes. `reserved` is what the allocator holds of it."""

    allocated: int
    reserved: int


def memory(device: Any = None) -> Memory | None:
    """None without CUDA: torch does not count the host's memory."""
    if not torch.cuda.is_available():
        return None
    return Memory(torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device))


def live_bytes() -> int | None:
    """Allocated bytes of the current CUDA device, for Gate(memory=…)."""
    now = memory()
    return None if now is None else now.allocated


@dataclasses.dataclass
class Prefilled:
    """A prompt in its cache. `logits` are those of its last position: [vocab]."""

    logits: torch.Tensor
    cache: Any
    request: Request
    peak: Memory | None  # highest of any chunk


@contextlib.contextmanager
def prefill(
    gate: Gate,
    model: Any,
    input_ids: torch.Tensor,
    *,
    past_key_values: Any = None,
    cached_tokens: int = 0,
    max_output_tokens: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    timeout: float | None = None,
    **request: Any,
) -> Iterator[Prefilled]:
    """Computes one prompt ([tokens] or [1, tokens]) in the chunks that the gate
    allows. `past_key_values` is a DynamicCache (default) or StaticCache with
    `cached_tokens` tokens in it, fewer than the prompt has; filled in place.
    The other arguments are those of Gate.request()."""
    from transformers import DynamicCache

    ids = input_ids if input_ids.ndim == 2 else input_ids[None]
    if ids.ndim != 2 or ids.shape[0] != 1:
        raise ValueError(f"input_ids: expected one prompt, got the shape {list(input_ids.shape)}")
    total = ids.shape[1]
    if cached_tokens >= total or (cached_tokens > 0 and past_key_values is None):
        raise ValueError(f"cached_tokens: expected less than the {total} tokens of the prompt, and 0 without past_key_values, got {cached_tokens}")
    cache = past_key_values if past_key_values is not None else DynamicCache(config=model.config)
    logits: torch.Tensor | None = None
    peak: Memory | None = None
    with gate.request(total, cached_tokens, max_output_tokens, **request) as r, torch.inference_mode():
        for chunk in r.chunks(timeout):
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            try:
                out = model(input_ids=ids[:, chunk.start : chunk.stop], past_key_values=cache, use_cache=True, logits_to_keep=1)
                logits = out.logits[0, -1]
                del out
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
            except Exception as error:
                if not is_out_of_memory(error) or not cache.is_croppable:
                    raise
                failed = str(error)
            else:
                now = memory()
                if now is None:
                    chunk.done()
                else:
                    highest = Memory(torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())
                    peak = Memory(max(highest.allocated, peak.allocated), max(highest.reserved, peak.reserved)) if peak else highest
                    chunk.done(peak_bytes=highest.allocated, live_bytes=now.allocated)
                progress(chunk.stop, total)
                continue
            # Without the traceback, which holds the tensors of the step.
            _take_back(cache, chunk.start)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            chunk.failed(MemoryError(failed))
        assert logits is not None
        yield Prefilled(logits, cache, r, peak)


def _take_back(cache: Any, tokens: int) -> None:
    """Layers that a failed step had reached hold more than `tokens`."""
    for layer in cache.layers:
        more = int(layer.get_seq_length()) - tokens
        if more > 0:
            layer.crop(-more)


__all__ = ["Memory", "Prefilled", "live_bytes", "memory", "prefill"]
