# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""MLX: prompts of mlx-lm models through a Gate.

    gate = tidegate.mlx.gate("policy.toml", model="path/to/config.json")
    for token, logprobs in tidegate.mlx.generate_step(gate, prompt, model):
        ...

generate_step() takes the place of mlx_lm.generate.generate_step(), prefill() is
its first half. docs/engines/mlx.md says what happens when something fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import mlx.core as mx

from ._engines import is_out_of_memory
from ._flags import Path
from ._gate import Gate, Reclaimer
from ._request import Chunk, Request

Progress = Callable[[int, int], None]


def live_bytes() -> int:
    """What MLX holds of the device: arrays, and the pool of freed buffers."""
    return int(mx.get_active_memory() + mx.get_cache_memory())


def _free_pool(_: int) -> int:
    held = int(mx.get_cache_memory())
    mx.clear_cache()
    return held - int(mx.get_cache_memory())


def gate(policy: Path | Mapping[str, Any] | None = None, model: Path | Mapping[str, Any] | None = None, **arguments: Any) -> Gate:
    """A Gate on the MLX that is installed here, which reads live memory from MLX and
    empties its pool when memory is short. Arguments as of Gate."""
    arguments.setdefault("engine", "mlx")
    arguments.setdefault("memory", live_bytes)
    if arguments["memory"] is live_bytes:
        arguments.setdefault("reclaim", {"pool": Reclaimer(mx.get_cache_memory, _free_pool)})
    return Gate(policy, model, **arguments)


@dataclasses.dataclass
class Prefilled:
    """A prompt in its cache. `logits` are those of its last position: [vocab]."""

    logits: mx.array
    cache: list[Any]
    request: Request


@contextlib.contextmanager
def prefill(
    gate: Gate,
    model: Any,
    tokens: Sequence[int] | mx.array,
    *,
    prompt_cache: list[Any] | None = None,
    cached_tokens: int = 0,
    max_output_tokens: int = 0,
    progress: Progress | None = None,
    timeout: float | None = None,
    make_cache: Callable[[], list[Any]] | None = None,
    **request: Any,
) -> Iterator[Prefilled]:
    """Computes a prompt in the chunks that the gate allows.

        with tidegate.mlx.prefill(gate, model, tokens) as prompt:
            decode(prompt.cache, prompt.logits)     # its memory is promised here

    tokens         the whole prompt, the cached part included
    prompt_cache   as of mlx-lm, with `cached_tokens` tokens in it; filled in place
    progress       called with (tokens in the cache, tokens of the prompt)
    timeout        seconds to wait for a chunk at most
    make_cache     makes an empty cache of the kind of `prompt_cache`; default:
                   mlx_lm.models.cache.make_prompt_cache(model)

    The other arguments are those of Gate.request().
    """
    prompt = _Prompt(model, tokens, prompt_cache, cached_tokens, progress, make_cache)
    with gate.request(prompt.total, cached_tokens, max_output_tokens, **request) as r:
        for chunk in r.chunks(timeout):
            prompt.compute(chunk, with_logits=True)
        yield Prefilled(prompt.logits(), prompt.cache, r)


def generate_step(
    gate: Gate,
    prompt: Sequence[int] | mx.array,
    model: Any,
    *,
    max_tokens: int = 256,
    prompt_cache: list[Any] | None = None,
    cached_tokens: int = 0,
    prompt_progress_callback: Progress | None = None,
    timeout: float | None = None,
    make_cache: Callable[[], list[Any]] | None = None,
    request: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Iterator[tuple[Any, mx.array]]:
    """mlx_lm.generate.generate_step() with its prefill through the gate.

    `prompt` is the whole prompt, of which `prompt_cache` holds `cached_tokens`.
    `request` are further arguments of Gate.request(), the others those of
    mlx-lm's generate_step(). Closing the generator ends the request.
    """
    from mlx_lm.generate import generate_step as decode

    work = _Prompt(model, prompt, prompt_cache, cached_tokens, prompt_progress_callback, make_cache)
    with gate.request(work.total, cached_tokens, max(0, max_tokens), **(request or {})) as r:
        for chunk in r.chunks(timeout):
            work.compute(chunk, with_logits=False)
        for token, logprobs in decode(work.tokens[-1:], model, max_tokens=max_tokens, prompt_cache=work.cache, **arguments):
            r.decoded()
            yield token, logprobs


class _Prompt:
    def __init__(
        self,
        model: Any,
        tokens: Sequence[int] | mx.array,
        cache: list[Any] | None,
        cached_tokens: int,
        progress: Progress | None,
        make_cache: Callable[[], list[Any]] | None,
    ):
        from mlx_lm.generate import generation_stream
        from mlx_lm.models.cache import make_prompt_cache

        self.model = model
        self.tokens = tokens if isinstance(tokens, mx.array) else mx.array(tokens)
        if self.tokens.ndim != 1:
            raise ValueError(f"tokens: expected one dimension, got {self.tokens.ndim}")
        if cache is None and cached_tokens > 0:
            raise ValueError(f"cached_tokens: expected 0 without a prompt_cache, got {cached_tokens}")
        self.total = int(self.tokens.size)
        self._make_cache = make_cache or (lambda: list(make_prompt_cache(model)))
        self.cache = self._make_cache() if cache is None else cache
        if cached_tokens == self.total:
            # The last token gives the logits: it is computed in any case.
            from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache

            if not can_trim_prompt_cache(self.cache):
                raise ValueError("cached_tokens: expected less than the whole prompt: this cache cannot give its last token back")
            trim_prompt_cache(self.cache, 1)
        self._cached = min(cached_tokens, self.total - 1)
        self._progress = progress or (lambda done, total: None)
        self._stream = generation_stream
        self._ran: list[tuple[int, int]] = []
        self._logits: mx.array | None = None
        # What is still to be evaluated would be priced as a part of the first step,
        # and on another stream.
        mx.eval([entry.state for entry in self.cache] if cached_tokens > 0 else [], self.tokens)
        self._progress(cached_tokens, self.total)

    def logits(self) -> mx.array:
        assert self._logits is not None
        return self._logits

    def compute(self, chunk: Chunk, *, with_logits: bool) -> None:
        mx.clear_cache()
        mx.reset_peak_memory()
        try:
            self._forward(chunk.start, chunk.stop, with_logits=with_logits)
        except Exception as error:
            if not is_out_of_memory(error) or not self._can_rebuild():
                raise
            failed = str(error)
        else:
            peak = int(mx.get_peak_memory())
            mx.clear_cache()
            live = int(mx.get_active_memory())
            self._ran.append((chunk.start, chunk.stop))
            chunk.done(peak_bytes=max(peak, live), live_bytes=live)
            self._progress(chunk.stop, self.total)
            return
        # Without the traceback, which holds the arrays of the step.
        self._rebuild(chunk)
        chunk.failed(MemoryError(failed))

    def _forward(self, start: int, stop: int, *, with_logits: bool) -> None:
        # Only the last position's logits are wanted, and MLX would compute those of
        # all positions of a call: the last token goes alone, as in mlx-lm.
        last = stop == self.total
        with mx.stream(self._stream):
            if stop - last > start:
                self.model(self.tokens[start : stop - last][None], cache=self.cache)
                mx.eval([entry.state for entry in self.cache])
            if last and with_logits:
                logits = self.model(self.tokens[-1:][None], cache=self.cache)[0, -1]
                mx.eval(logits, [entry.state for entry in self.cache])
                self._logits = logits

    # MLX is lazy: what a failed evaluation left in a cache is not known, and a copy
    # of it from before would keep MLX from growing it in place.

    def _can_rebuild(self) -> bool:
        return [type(entry) for entry in self._make_cache()] == [type(entry) for entry in self.cache]

    def _rebuild(self, chunk: Chunk) -> None:
        """What the cache held before `chunk`: the same chunks again, and the prefix
        that was there before them in narrow ones."""
        self.cache[:] = self._make_cache()
        mx.clear_cache()
        narrow = max(1, min(64, len(chunk)))
        prefix = [(start, min(start + narrow, self._cached)) for start in range(0, self._cached, narrow)]
        for start, stop in prefix + self._ran:
            self._forward(start, stop, with_logits=False)
            mx.clear_cache()


__all__ = ["Prefilled", "gate", "generate_step", "live_bytes", "prefill"]
