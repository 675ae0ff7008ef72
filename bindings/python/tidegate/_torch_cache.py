# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Caches of transformers (5.17): one that never reallocates, and taking back
what a step that failed left in one."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionCacheLayerMixin,
    QuantizedLayer,
    StaticLayer,
    StaticSlidingWindowLayer,
)

_GROWING = ("keys", "values", "indexer_keys")  # [..., tokens, width]
_STATES = ("conv_states", "recurrent_states")
_STATE_FLAGS = ("is_conv_states_initialized", "is_recurrent_states_initialized", "has_previous_state", "conv_kernel_size")


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc,unused-ignore]
    """Keys and values of up to `capacity` tokens, in two buffers that are made
    with the first chunk: nothing is concatenated, so no chunk holds a layer twice
    and the allocator has nothing to fit anew."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.used = 0
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        stop = self.used + key_states.shape[-2]
        if stop > self.capacity:
            raise ValueError(f"PreallocatedCache: expected at most {self.capacity} tokens, got {stop}")
        if self._buffers is None:
            self.lazy_initialization(key_states, value_states)
            shape = (*key_states.shape[:2], self.capacity)
            self._buffers = (
                key_states.new_empty((*shape, key_states.shape[-1])),
                value_states.new_empty((*shape, value_states.shape[-1])),
            )
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.used : stop] = states
        self.take(stop)
        return self.keys, self.values

    def take(self, tokens: int) -> None:
        """The first `tokens` are in use."""
        assert self._buffers is not None
        self.used = tokens
        self.keys, self.values = (buffer[:, :, :tokens] for buffer in self._buffers)

    def get_seq_length(self) -> int:
        return self.used

    def crop(self, tokens_to_remove: int) -> None:
        if tokens_to_remove:
            self.take(max(0, self.used - abs(tokens_to_remove)))


class PreallocatedCache(DynamicCache):  # type: ignore[misc,unused-ignore]
    """A DynamicCache whose full-attention layers are preallocated for `tokens`.
    The Gate's engine option is kv_cache = "prealloc". Layers with a window and
    recurrent ones, which do not grow, are transformers' own."""

    def __init__(self, config: Any, tokens: int) -> None:
        super().__init__(config=config)
        layers: list[Any] = self.layers  # type: ignore[has-type,unused-ignore]
        self.layers = [PreallocatedLayer(tokens) if type(layer) is DynamicLayer else layer for layer in layers]


class Rollback:
    """What a cache held before a step. Holds lengths, and copies of what a step
    overwrites: recurrent and convolution states, a few MiB a layer. Layers with a
    window keep what they drop until trim(), in the storage that holds it anyway."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self._states: dict[tuple[int, str, int], torch.Tensor] = {}  # copies, made once
        self._windows = [layer for layer in cache.layers if isinstance(layer, DynamicSlidingWindowLayer) and not layer.record_past]
        for layer in self._windows:
            layer.record_past = True
        self._before: list[dict[str, Any]] = []

    @staticmethod
    def possible(cache: Any) -> bool:
        """Quantised layers and static windows overwrite what nobody can restore."""
        return all(
            isinstance(layer, (DynamicLayer, StaticLayer, LinearAttentionCacheLayerMixin))
            and not isinstance(layer, (QuantizedLayer, StaticSlidingWindowLayer))
            for layer in cache.layers
        )

    def mark(self, tokens: int) -> None:
        """What is in the cache now, `tokens` of the prompt, is what undo() returns to."""
        self._before = [self._describe(i, layer, tokens) for i, layer in enumerate(self._cache.layers)]

    def trim(self) -> None:
        """After a step that went well: windows drop what they no longer see."""
        for layer in self._windows:
            layer.crop(0)

    def close(self) -> None:
        for layer in self._windows:
            layer.record_past = False

    def _describe(self, i: int, layer: Any, tokens: int) -> dict[str, Any]:
        seen: dict[str, Any] = {"initialized": bool(getattr(layer, "is_initialized", False))}
        if isinstance(layer, StaticLayer):
            seen["static"] = tokens  # the layer's own count is on the device
        elif isinstance(layer, PreallocatedLayer):
            seen["used"] = layer.used
        elif isinstance(layer, DynamicLayer):
            for name in _GROWING:
                tensor = getattr(layer, name, None)
                seen[name] = tensor.shape[-2] if isinstance(tensor, torch.Tensor) and tensor.ndim > 1 else 0
            seen["cumulative"] = getattr(layer, "cumulative_length", None)
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            seen["flags"] = {name: dict(getattr(layer, name)) for name in _STATE_FLAGS}
            for name in _STATES:
                for j, state in getattr(layer, name).items():
                    if state is None:
                        continue
                    kept = self._states.get((i, name, j))
                    if kept is None or kept.shape != state.shape:
                        self._states[i, name, j] = state.clone()
                    else:
                        kept.copy_(state)
        return seen

    def undo(self) -> None:
        """Takes back what a step that failed left, however far it came."""
        del self._cache.layers[len(self._before) :]
        for i, (layer, seen) in enumerate(zip(self._cache.layers, self._before, strict=True)):
            if "static" in seen:
                # What was written behind it is overwritten by the next step.
                layer.cumulative_length.fill_(seen["static"])
            elif "used" in seen:
                if layer._buffers is not None:
                    layer.take(seen["used"])
            elif isinstance(layer, DynamicLayer):
                # One of keys and values may be longer and the other not.
                for name in _GROWING:
                    tensor = getattr(layer, name, None)
                    if isinstance(tensor, torch.Tensor) and tensor.ndim > 1 and tensor.shape[-2] > seen[name]:
                        setattr(layer, name, tensor[..., : seen[name], :])
                if seen["cumulative"] is not None:
                    layer.cumulative_length = seen["cumulative"]
                layer.is_initialized = seen["initialized"]
            if isinstance(layer, LinearAttentionCacheLayerMixin):
                self._undo_states(i, layer, seen["flags"])

    def _undo_states(self, i: int, layer: Any, flags: dict[str, Any]) -> None:
        for name, value in flags.items():
            setattr(layer, name, dict(value))
        for name in _STATES:
            states = getattr(layer, name)
            for j in states:
                kept = self._states.get((i, name, j))
                if kept is None:
                    states[j] = None
                else:
                    states[j].copy_(kept)
