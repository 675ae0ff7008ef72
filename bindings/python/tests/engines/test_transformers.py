# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""transformers models with random weights through a Gate, on the CPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import tidegate  # noqa: E402
import tidegate.torch  # noqa: E402

TOKENS = 300
CONFIG = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 200, "max_position_embeddings": 1024, "torch_dtype": "float32",
}  # fmt: skip


def make_model(attention="sdpa"):
    torch.manual_seed(3)
    config = transformers.LlamaConfig(**{k: v for k, v in CONFIG.items() if k not in ("model_type", "torch_dtype")})
    config._attn_implementation = attention
    return transformers.LlamaForCausalLM(config).eval()


def make_gate():
    return tidegate.Gate(None, CONFIG, "torch", ceiling="8 GiB", base=0, chunk_max=64, chunk_floor=16, chunk_quantum=16)


def make_cache(kind, model):
    if kind == "dynamic":
        return transformers.DynamicCache(config=model.config)
    return transformers.StaticCache(config=model.config, max_cache_len=TOKENS + 8)


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_logits_are_those_of_one_chunk(attention, kind):
    model, ids, gate = make_model(attention), torch.randint(0, 200, (TOKENS,)), make_gate()
    with torch.inference_mode():
        expected = model(input_ids=ids[None]).logits[0, -1]
    with tidegate.torch.prefill(gate, model, ids, past_key_values=make_cache(kind, model)) as done:
        torch.testing.assert_close(done.logits, expected, rtol=1e-4, atol=1e-5)
    assert gate.stats()["steps"] == 5


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_out_of_memory_is_tried_narrower_on_the_cache_of_before(kind):
    model, ids, gate = make_model(), torch.randint(0, 200, (TOKENS,)), make_gate()
    with torch.inference_mode():
        expected = model(input_ids=ids[None]).logits[0, -1]
    calls = []

    def fail_once(module, args, kwargs=None):
        calls.append(1)
        if len(calls) == 3:  # the first layer has its keys already
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.model.layers[1].register_forward_pre_hook(fail_once)
    with tidegate.torch.prefill(gate, model, ids, past_key_values=make_cache(kind, model)) as done:
        torch.testing.assert_close(done.logits, expected, rtol=1e-4, atol=1e-5)
    assert gate.stats()["out_of_memory"] == 1


def test_another_error_goes_on_and_leaves_the_gate_usable():
    model, gate = make_model(), make_gate()
    with pytest.raises(IndexError), tidegate.torch.prefill(gate, model, torch.full((TOKENS,), 999)):
        pass
    assert gate.stats()["cancelled"] == 1
    with tidegate.torch.prefill(gate, model, torch.zeros(TOKENS, dtype=torch.long)):
        pass
