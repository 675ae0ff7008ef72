# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""llama.cpp: prompts of llama-cpp-python models through a Gate.

    loaded = tidegate.llamacpp.load("model.gguf", ceiling="8 GiB")
    with tidegate.llamacpp.prefill(loaded.gate, loaded.llm, tokens) as prompt:
        for token in loaded.llm.generate(tokens, reset=True):
            ...

llama.cpp reserves its memory when a context is made: load() chooses n_ubatch and
n_ctx for a ceiling before. docs/engines/llamacpp.md says what happens when
something fails.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api

from . import _core
from ._flags import Path, flags, python_names, warn
from ._gate import Gate, Size
from ._request import Request
from ._types import Cancelled

# The build whose graphs the price law was checked against (docs/prices_llamacpp.md).
ENGINE = "llama.cpp@b9000/cpu"

_CACHE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}
_MODEL_TYPES = {"gemma3": "gemma3_text", "qwen3moe": "qwen3_moe", "qwen2moe": "qwen2_moe", "gpt-oss": "gpt_oss"}


def config(metadata: Mapping[str, str], vocab: int | None = None) -> dict[str, Any]:
    """The keys of the config.json that a GGUF model was made from, from its
    metadata (`Llama.metadata`). ValueError names a key that is missing."""
    arch = metadata.get("general.architecture", "unknown")

    def number(key: str) -> int | None:
        value = metadata.get(f"{arch}.{key}")
        return int(value) if value is not None and re.fullmatch(r"\d+", value) else None

    def required(key: str) -> int:
        value = number(key)
        if not value:
            raise ValueError(f"model: expected the GGUF key {arch}.{key} as one number above 0; where widths differ by layer, give model_config=")
        return value

    heads = required("attention.head_count")
    experts = number("expert_count") or 0
    model_type = "mixtral" if arch == "llama" and experts else _MODEL_TYPES.get(arch, arch)
    made: dict[str, Any] = {
        "model_type": model_type,
        "num_hidden_layers": required("block_count"),
        "hidden_size": required("embedding_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv") or heads,
        "head_dim": number("attention.key_length") or required("embedding_length") // heads,
        "torch_dtype": "bfloat16",
        "vocab_size": vocab or required("vocab_size"),
        "max_position_embeddings": required("context_length"),
        "intermediate_size": number("feed_forward_length") or number("expert_feed_forward_length") or required("feed_forward_length"),
    }
    if experts:
        made["num_local_experts" if model_type == "mixtral" else "num_experts"] = experts
        made["num_experts_per_tok"] = required("expert_used_count")
        if width := number("expert_feed_forward_length"):
            made["moe_intermediate_size"] = width
    if window := number("attention.sliding_window"):
        made["sliding_window"] = window
    return made


@dataclasses.dataclass(frozen=True)
class Plan:
    """With what to load: the arithmetic is in `reason`."""

    fits: bool
    n_ubatch: int
    n_ctx: int
    compute_bytes: int
    kv_bytes: int
    reason: str
    choices: list[dict[str, int]]  # the longest n_ctx of each n_ubatch


def plan(
    model: Path | Mapping[str, Any],
    *,
    ceiling: Size,
    base: Size,
    headroom: Size | None = None,
    n_ctx: int | None = None,
    n_ubatch: int | None = None,
    n_ubatch_max: int | None = None,
    engine: str = ENGINE,
    engine_options: Mapping[str, str] | None = None,
) -> Plan:
    """What `tidegate plan` chooses for llama.cpp. `model` is a config.json or its
    keys; what is not given is open."""
    options = {**(engine_options or {})}
    options |= {key: str(value) for key, value in (("n_ctx", n_ctx), ("n_ubatch", n_ubatch)) if value}
    with contextlib.ExitStack() as stack:
        if isinstance(model, Mapping):
            file = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".json"))
            json.dump(model, file)
            file.flush()
            model = file.name
        with python_names():
            given = flags(
                model=model, engine=engine, engine_options=options or None, ceiling=ceiling, base=base, headroom=headroom, chunk_max=n_ubatch_max
            )
            out, told = _core.plan(given)
    warn(told.splitlines())
    load = json.loads(out)["load"]
    return Plan(**{field.name: load[field.name] for field in dataclasses.fields(Plan)})


@dataclasses.dataclass(frozen=True)
class Reported:
    """What llama.cpp said it reserved, in bytes; exact to 0.01 MiB, rounded up."""

    compute: int = 0
    kv: int = 0
    output: int = 0


class _LogReader:
    """The C API states the size of no buffer, its log states each."""

    def __init__(self) -> None:
        self.text = ""
        self._before = api.llama_log_callback()
        self._before_data = ctypes.c_void_p()
        self._callback = api.llama_log_callback(self._receive)

    def _receive(self, level: int, text: bytes, data: Any) -> None:
        self.text += text.decode("utf-8", "replace")
        if self._before:
            self._before(level, text, data)

    def __enter__(self) -> _LogReader:
        api.llama_log_get(ctypes.byref(self._before), ctypes.byref(self._before_data))
        api.llama_log_set(self._callback, ctypes.c_void_p(0))
        return self

    def __exit__(self, *_: Any) -> None:
        api.llama_log_set(self._before, self._before_data)

    def reported(self) -> Reported:
        sums = {"compute": 0, "KV": 0, "RS": 0, "output": 0}
        for kind, mib in re.findall(r" (compute|KV|RS|output) buffer size = +([0-9.]+) MiB", self.text):
            if float(mib) > 0:
                sums[kind] += math.ceil((float(mib) + 0.005) * 2**20)
        return Reported(sums["compute"], sums["KV"] + sums["RS"], sums["output"])


@dataclasses.dataclass
class Loaded:
    llm: llama_cpp.Llama
    gate: Gate
    plan: Plan
    reported: Reported


def load(
    model_path: Path,
    *,
    ceiling: Size,
    base: Size | None = None,
    headroom: Size | None = None,
    n_ctx: int | None = None,
    n_ubatch_max: int | None = None,
    flash_attn: bool = True,
    kv_type: str = "f16",
    n_threads: int = 1,
    scratch: bool = True,
    model_config: Path | Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Loaded:
    """A model, in a context that fits under `ceiling`, and its Gate.

    base           live without the context; default: the size of the file
    n_ctx          tokens wanted; default: as many as fit, at most those that the
                   model was trained for
    n_ubatch_max   widest step (2048)
    scratch        price what the CPU backend allocates beside the compute buffer
    model_config   config.json, where GGUF metadata do not say the shape
    policy         tables of a policy file for the Gate

    The others are those of llama_cpp.Llama. MemoryError with the arithmetic where
    no context fits.
    """
    if kv_type not in _CACHE_TYPES:
        raise ValueError(f"kv_type: expected one of {', '.join(_CACHE_TYPES)}, got {kv_type!r}")
    path = os.fspath(model_path)
    arguments.setdefault("verbose", False)
    if model_config is None:
        with contextlib.closing(llama_cpp.Llama(path, vocab_only=True, n_ctx=8, n_batch=8, verbose=False)) as words:
            model_config = config(words.metadata, words.n_vocab())
    options = {"flash_attn": str(flash_attn).lower(), "kv_type": kv_type, "scratch": str(scratch).lower(), "threads": str(n_threads)}
    live = os.path.getsize(path) if base is None else base
    chosen = plan(model_config, ceiling=ceiling, base=live, headroom=headroom, n_ctx=n_ctx, n_ubatch_max=n_ubatch_max, engine_options=options)
    if not chosen.fits:
        raise MemoryError(f"no context fits: {chosen.reason}")
    with _LogReader() as log:
        llm = llama_cpp.Llama(
            path,
            n_ctx=chosen.n_ctx,
            n_batch=chosen.n_ubatch,
            n_ubatch=chosen.n_ubatch,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            flash_attn=flash_attn,
            swa_full=False,  # not what is priced
            type_k=_CACHE_TYPES[kv_type],
            type_v=_CACHE_TYPES[kv_type],
            **arguments,
        )
    reported = log.reported()
    # Rows of logits: llama-cpp-python leaves n_outputs_max at llama.cpp's default.
    options |= {"n_ubatch": str(chosen.n_ubatch), "n_ctx": str(chosen.n_ctx), "n_outputs": str(chosen.n_ubatch)}
    tables = {key: dict(table) for key, table in (policy or {}).items()}
    # The cache is live; the compute buffer is the price of a step.
    tables.setdefault("memory", {}).setdefault("kv_blocks", llm.n_ctx())
    tables["memory"].setdefault("kv_block", 1)
    gate = Gate(
        tables,
        model_config,
        ENGINE,
        engine_options=options,
        ceiling=ceiling,
        base=_bytes(live) + reported.kv + reported.output,
        headroom=headroom,
        chunk_max=chosen.n_ubatch,
        chunk_floor=min(64, chosen.n_ubatch),
        chunk_quantum=min(64, chosen.n_ubatch),
    )
    return Loaded(llm, gate, chosen, reported)


def _bytes(size: Size) -> int:
    if isinstance(size, int):
        return size
    number, unit = re.fullmatch(r"\s*([0-9.]+)\s*([KMGT]iB|B)?\s*", size).groups()  # type: ignore[union-attr]
    return int(float(number) * 1024 ** {"B": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}[unit or "B"])


class Stop:
    """Stops the chunk that runs, from any thread: set() it, and prefill() raises
    Cancelled. Of one prefill; works on the CPU backend, others end their chunk."""

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(b"0")

    def set(self) -> None:
        self._text[0] = b"1"

    def is_set(self) -> bool:
        return self._text[0] == b"1"


# llama.cpp asks before each node of a graph whether to go on. A Python function
# would take the GIL each time; that of the C library that reads "0" or "1" as a
# number does not, and its low byte is the bool that is asked for.
_READ_STOP = ctypes.cast(ctypes.CDLL(None).atoi, api.ggml_abort_callback)
_NEVER = api.ggml_abort_callback()


@dataclasses.dataclass
class Prefilled:
    """A prompt in the context's cache. `logits` are those of its last position:
    a copy, [vocab]."""

    logits: np.ndarray[Any, Any]
    request: Request


@contextlib.contextmanager
def prefill(
    gate: Gate,
    llm: llama_cpp.Llama,
    tokens: Sequence[int],
    *,
    cached_tokens: int = 0,
    max_output_tokens: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Stop | None = None,
    timeout: float | None = None,
    compute_bytes: int | None = None,
    **request: Any,
) -> Iterator[Prefilled]:
    """Computes a prompt in the chunks that the gate allows, into sequence 0 of the
    context. Of what is cached there, the first `cached_tokens` are kept; fewer
    than the prompt has. Afterwards `llm` is as if it had evaluated the prompt
    itself: llm.generate(tokens) goes on from there. One prompt at a time.

    `compute_bytes` is told as measured with each chunk: Loaded.reported.compute.
    The other arguments are those of Gate.request().
    """
    total = len(tokens)
    if not 0 <= cached_tokens < total or cached_tokens > llm.n_tokens:
        raise ValueError(
            f"cached_tokens: expected 0 to {max(0, min(total - 1, llm.n_tokens))}: fewer than the prompt has, and at most what is cached, got {cached_tokens}"
        )
    ids = np.ascontiguousarray(tokens, dtype=np.intc)
    if ids.ndim != 1 or ids.min() < 0 or ids.max() >= llm.n_vocab():
        raise ValueError(f"tokens: expected one dimension of 0 to {llm.n_vocab() - 1}")
    ctx, memory = llm.ctx, api.llama_get_memory(llm.ctx)
    first = ids.ctypes.data
    if stop is not None:
        api.llama_set_abort_callback(ctx, _READ_STOP, ctypes.addressof(stop._text))
    live = gate.stats()["live_bytes"] if compute_bytes is not None else None
    peak = None if live is None or compute_bytes is None else live + compute_bytes
    try:
        with gate.request(total, cached_tokens, max_output_tokens, **request) as r:
            _keep(llm, memory, cached_tokens)
            for chunk in r.chunks(timeout):
                start, n = chunk.start, chunk.stop - chunk.start
                code = api.llama_decode(ctx, api.llama_batch_get_one(ctypes.cast(first + 4 * start, api.llama_token_p), n))
                if code == 0:
                    api.llama_synchronize(ctx)
                    if peak is None:
                        chunk.done()
                    else:
                        chunk.done(peak_bytes=peak, live_bytes=live)
                    progress(chunk.stop, total)
                    continue
                _keep(llm, memory, start)
                if code == 2 and stop is not None and stop.is_set():
                    raise Cancelled("stopped while a chunk ran")
                if code not in (1, -2):
                    raise RuntimeError(f"llama_decode returned {code}")
                chunk.failed(MemoryError(f"llama_decode returned {code}"))
            llm.input_ids[:total] = ids
            llm.n_tokens = total
            yield Prefilled(np.ctypeslib.as_array(api.llama_get_logits_ith(ctx, -1), (llm.n_vocab(),)).copy(), r)
    finally:
        if stop is not None:
            api.llama_set_abort_callback(ctx, _NEVER, None)


def _keep(llm: llama_cpp.Llama, memory: Any, tokens: int) -> None:
    """The first tokens of sequence 0. Recurrent state cannot be cut."""
    llm.n_tokens = min(llm.n_tokens, tokens)
    if not api.llama_memory_seq_rm(memory, 0, tokens, -1):
        llm.n_tokens = 0
        api.llama_memory_seq_rm(memory, 0, -1, -1)
        if tokens > 0:
            raise RuntimeError(f"this model's state cannot be cut back to {tokens} tokens: start again")


__all__ = ["Loaded", "Plan", "Prefilled", "Reported", "Stop", "config", "load", "plan", "prefill"]
