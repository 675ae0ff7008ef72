# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Prefill by priced memory.

    gate = tidegate.Gate(policy="policy.toml", model="config.json", engine="mlx")
    quote = gate.quote(prompt_tokens=327_000, cached_tokens=99_000)
    with gate.request(prompt_tokens=len(tokens)) as r:
        for chunk in r.chunks():
            run(tokens[chunk.start:chunk.stop])
            chunk.done()

tidegate.plugins has classes to derive own estimators and policies from.
tidegate.mlx and tidegate.torch run whole prompts through a Gate; tidegate.vllm is a
scheduler class of vLLM's. Shadow watches any engine's own scheduler. simulate() and
compare() are the simulator.
"""

from . import plugins
from ._core import version as __version__
from ._gate import Gate, Reclaimer
from ._request import Chunk, Chunks, Request
from ._simulate import Comparison, Simulation, compare, simulate
from ._types import Arithmetic, Cancelled, Error, PlannedChunk, Price, Quote, Refused
from .shadow import Report, Shadow, ShadowStep

__all__ = [
    "Arithmetic",
    "Cancelled",
    "Chunk",
    "Chunks",
    "Comparison",
    "Error",
    "Gate",
    "PlannedChunk",
    "Price",
    "Quote",
    "Reclaimer",
    "Refused",
    "Report",
    "Request",
    "Shadow",
    "ShadowStep",
    "Simulation",
    "__version__",
    "compare",
    "plugins",
    "simulate",
]
