# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""torch: prompts of Hugging Face transformers models through a Gate.

    tidegate.torch.use_expandable_segments()  # before anything is on the device
    gate = tidegate.torch.make_gate(model, ceiling="70 GiB")
    with tidegate.torch.prefill(gate, model, input_ids) as prompt:
        decode(prompt.cache, prompt.logits)

docs/engines/transformers.md says what happens when something fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ._engines import installed_engine, is_out_of_memory
from ._gate import Gate, Size
from ._request import Request
from ._torch_attention import FLASH, register_flash

# Widest chunks worth taking on an H100, prompts of 10k to 280k tokens
# (bench/results/h100). An array as mask makes every row of a wide
# chunk pay for keys that it may not see, and eager attention leaves the caches.
_WIDEST = {FLASH: 8192, "sdpa": 4096, "eager": 1024}
# Kernels are fast at multiples of 8 keys; each new (width, kv length) costs
# cuDNN, which sdpa takes, about 50 ms, so there boundaries lie farther apart.
_QUANTUM = {FLASH: 64, "sdpa": 256, "eager": 64}
# What expandable segments held beyond what was allocated when a step ran out of
# memory, there: 20 to 60 MiB with flash, 40 to 140 with all others.
_HEADROOM = {FLASH: "64 MiB", "sdpa": "128 MiB", "eager": "128 MiB"}
_KV_CACHE = "_torch_kv_cache"  # of a Gate that make_gate() made


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


def use_expandable_segments() -> bool:
    """Lets the allocator map and unmap pages instead of keeping blocks of the sizes
    that were once asked for: what it reserves then stays near what is allocated
    (68 GiB against 7 for one prompt of 131,072 tokens). The same as
    PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True; only what is allocated
    afterwards is laid out so. False without CUDA."""
    if not torch.cuda.is_available():
        return False
    set_settings = getattr(torch._C, "_accelerator_setAllocatorSettings", None) or torch.cuda.memory._set_allocator_settings
    set_settings("expandable_segments:True")
    return True


def make_gate(
    model: Any,
    ceiling: Size,
    *,
    kv_cache: str | None = None,
    headroom: Size | None = None,
    engine: str | None = None,
    engine_options: dict[str, str] | None = None,
    **settings: Any,
) -> Gate:
    """A Gate for a transformers model that is on its device, with its weights.

    Attention, type and shape are the model's; live memory is what torch has
    allocated; widths are those that its kernels are fast at. `ceiling` is what
    the allocator may hold, as with torch.cuda.set_per_process_memory_fraction:
    the context of CUDA (about 0.7 GiB) lies outside. `kv_cache` says which cache
    prefill() makes, or is given: "prealloc" (a PreallocatedCache; the default but
    for models with windows) or "dynamic". `headroom` is for pages that the
    allocator holds in part: 128 MiB, with flash 64. `engine_options` go
    over what the model says. Other settings are those of Gate.
    """
    if kv_cache is None:
        kinds = getattr(model.config, "layer_types", None) or []
        windows = "sliding_attention" in kinds or "chunked_attention" in kinds or (not kinds and getattr(model.config, "sliding_window", None))
        kv_cache = "dynamic" if windows else "prealloc"
    options = {"attention": model.config._attn_implementation, "kv_cache": kv_cache, **(engine_options or {})}
    attention = options["attention"]
    if attention not in _WIDEST:
        known = ", ".join(sorted(_WIDEST))
        raise ValueError(f"attn_implementation: expected one of {known}, whose prices are known, got {attention!r}")
    if headroom is None:
        headroom = _HEADROOM[attention]
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["dtype"] = config["torch_dtype"] = str(model.dtype).removeprefix("torch.")
    widest = _WIDEST["eager" if options.get("sdpa_kernel") == "math" else attention]
    settings = {"chunk_max": widest, "chunk_quantum": _QUANTUM[attention], **settings}
    if torch.cuda.is_available():
        settings.setdefault("memory", live_bytes)
        settings.setdefault("base", torch.cuda.memory_allocated())
    else:
        settings.setdefault("base", sum(p.numel() * p.element_size() for p in model.parameters()))
    gate = Gate(
        settings.pop("policy", None),
        config,
        engine or installed_engine("torch"),
        engine_options=options,
        ceiling=ceiling,
        headroom=headroom,
        **settings,
    )
    setattr(gate, _KV_CACHE, kv_cache)
    return gate


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
    allows. `past_key_values` is a DynamicCache, PreallocatedCache or StaticCache
    with `cached_tokens` tokens in it, fewer than the prompt has; filled in place.
    Default: the one that make_gate() decided for, a DynamicCache for other Gates. A chunk that runs out of memory is taken back and comes again
    narrower. The other arguments are those of Gate.request().

    A chunk counts as done once it is on the device's queue and the one before it
    has run: the host prepares the next one meanwhile."""
    from transformers import DynamicCache

    from ._torch_cache import PreallocatedCache, Rollback

    ids = input_ids if input_ids.ndim == 2 else input_ids[None]
    if ids.ndim != 2 or ids.shape[0] != 1:
        raise ValueError(f"input_ids: expected one prompt, got the shape {list(input_ids.shape)}")
    total = ids.shape[1]
    if cached_tokens >= total or (cached_tokens > 0 and past_key_values is None):
        raise ValueError(f"cached_tokens: expected less than the {total} tokens of the prompt, and 0 without past_key_values, got {cached_tokens}")
    cache = past_key_values
    if cache is None and getattr(gate, _KV_CACHE, "dynamic") == "prealloc":
        cache = PreallocatedCache(model.config, total + max_output_tokens)
    elif cache is None:
        cache = DynamicCache(config=model.config)
    rollback = Rollback(cache) if Rollback.possible(cache) else None
    cuda = torch.cuda.is_available()
    logits: torch.Tensor | None = None
    peak: Memory | None = None
    before: Any = None  # the end of the chunk before
    try:
        with gate.request(total, cached_tokens, max_output_tokens, **request) as r, torch.inference_mode():
            for chunk in r.chunks(timeout):
                if cuda:
                    torch.cuda.reset_peak_memory_stats()
                marked = False
                try:
                    if rollback is not None:
                        rollback.mark(chunk.start)
                        marked = True
                    out = model(input_ids=ids[:, chunk.start : chunk.stop], past_key_values=cache, use_cache=True, logits_to_keep=1)
                    logits = out.logits[0, -1]
                    del out
                except Exception as error:
                    if not is_out_of_memory(error) or rollback is None:
                        raise
                    failed = str(error)
                else:
                    if rollback is not None:
                        rollback.trim()
                    if cuda:
                        # The allocator counts when a tensor is made, not when
                        # the device comes to it: nothing to wait for.
                        highest = Memory(torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())
                        peak = Memory(max(highest.allocated, peak.allocated), max(highest.reserved, peak.reserved)) if peak else highest
                        if before is not None:
                            before.synchronize()
                        before = torch.cuda.Event()
                        before.record()
                        chunk.done(peak_bytes=highest.allocated, live_bytes=torch.cuda.memory_allocated())
                    else:
                        chunk.done()
                    progress(chunk.stop, total)
                    continue
                # Without the traceback, which holds the tensors of the step.
                if marked:
                    rollback.undo()
                if cuda:
                    torch.cuda.synchronize()
                    torch.cuda.empty_cache()
                chunk.failed(MemoryError(failed))
            if before is not None:
                before.synchronize()
            assert logits is not None
            yield Prefilled(logits, cache, r, peak)
    finally:
        if rollback is not None:
            rollback.close()


def __getattr__(name: str) -> Any:
    # transformers takes seconds to import, and not everybody needs its caches.
    if name == "PreallocatedCache":
        from ._torch_cache import PreallocatedCache

        return PreallocatedCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Memory",
    "PreallocatedCache",  # noqa: F822
    "Prefilled",
    "live_bytes",
    "make_gate",
    "memory",
    "prefill",
    "register_flash",
    "use_expandable_segments",
]
