# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""A device of round numbers: 1,000 bytes of KV a token, and transients that grow
with the chunk and with what it attends to."""

from __future__ import annotations

import copy
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

import tidegate

ROOT = pathlib.Path(__file__).resolve().parents[3]

POLICY: dict[str, Any] = {
    "model": {"shape": {"q_heads": 8, "kv_heads": 1, "head_dim": 64, "layers": 2, "hidden": 512, "vocab": 1000, "compute_dtype": "bf16"}},
    "estimator": {"use": "formula", "transient": "10 * n * kv_len", "resident_per_token": "1000"},
    "memory": {"ceiling": 100_000_000, "base": 20_000_000},
    "chunk": {"max": 2048, "floor": 64, "quantum": 64},
}


@pytest.fixture
def policy() -> dict[str, Any]:
    return copy.deepcopy(POLICY)


@pytest.fixture
def make_gate() -> Callable[..., tidegate.Gate]:
    """A Gate on that device; arguments replace those of the policy."""

    def make(**arguments: Any) -> tidegate.Gate:
        return tidegate.Gate(copy.deepcopy(POLICY), **arguments)

    return make


@pytest.fixture
def gate(make_gate: Callable[..., tidegate.Gate]) -> tidegate.Gate:
    return make_gate()


def run_all(gate: tidegate.Gate, prompt_tokens: int, cached_tokens: int = 0, **arguments: Any) -> list[tuple[int, int]]:
    """Runs a request to its end; answers its chunks as (start, stop)."""
    chunks = []
    with gate.request(prompt_tokens, cached_tokens, **arguments) as r:
        for chunk in r.chunks():
            chunks.append((chunk.start, chunk.stop))
            chunk.done()
    return chunks
