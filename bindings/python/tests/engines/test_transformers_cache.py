# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Steps that fail half way, over every kind of cache, and the preallocated one; on the CPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import tidegate  # noqa: E402
import tidegate.torch  # noqa: E402

TOKENS = 300
WIDTHS = {
    "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "vocab_size": 200, "max_position_embeddings": 1024,
}  # fmt: skip
MODELS = {
    "dense": ("llama", {}),
    "window": ("gemma3_text", {"sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]}),
    "latent": (
        "deepseek_v2",
        {
            "num_key_value_heads": 4, "q_lora_rank": None, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
            "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1,
            "topk_method": "greedy", "n_group": 1, "topk_group": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "recurrent": (
        "qwen3_next",
        {
            "layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4, "linear_num_key_heads": 2,
            "linear_key_head_dim": 16, "linear_value_head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
        },
    ),
}  # fmt: skip


def make_model(kind):
    torch.manual_seed(3)
    model_type, more = MODELS[kind]
    config = transformers.AutoConfig.for_model(model_type, **{**WIDTHS, **more})
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()


def gate_of(model, **settings):
    settings = {"chunk_max": 64, "chunk_floor": 16, "chunk_quantum": 16, "engine": "torch@2.11.0/cuda-sm90", **settings}
    return tidegate.torch.make_gate(model, ceiling="8 GiB", **settings)


def whole_prompt(model, ids):
    with torch.inference_mode():
        return model(input_ids=ids[None]).logits[0, -1]


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("kind", MODELS)
def test_a_step_that_failed_after_its_first_layer_leaves_nothing(kind):
    model, ids = make_model(kind), torch.randint(0, 200, (TOKENS,))
    gate, calls = gate_of(model), []

    def fail_twice(module, args, kwargs=None):
        calls.append(1)
        if len(calls) in (1, 4):  # the first chunk, and one behind others
            raise torch.OutOfMemoryError("CUDA out of memory")

    expected = whole_prompt(model, ids)
    model.model.layers[1].register_forward_pre_hook(fail_twice)
    with tidegate.torch.prefill(gate, model, ids) as done:
        torch.testing.assert_close(done.logits, expected, rtol=1e-4, atol=1e-5)
    assert gate.stats()["out_of_memory"] == 2


@pytest.mark.parametrize("kind", ["dense", "window"])
def test_keys_that_were_joined_without_their_values_are_taken_back(kind, monkeypatch):
    model, ids = make_model(kind), torch.randint(0, 200, (TOKENS,))
    settings = {"kv_cache": "dynamic"}
    gate, joined, cat = gate_of(model, **settings), [], torch.cat

    def no_room(tensors, *args, **kwargs):
        if kwargs.get("dim") == -2 and tensors[0].ndim == 4:
            joined.append(1)
            if len(joined) == 10:  # values of the first layer, in the third chunk
                raise torch.OutOfMemoryError("CUDA out of memory")
        return cat(tensors, *args, **kwargs)

    expected = whole_prompt(model, ids)
    joined.clear()
    monkeypatch.setattr(torch, "cat", no_room)
    with tidegate.torch.prefill(gate, model, ids) as done:
        torch.testing.assert_close(done.logits, expected, rtol=1e-4, atol=1e-5)
    assert gate.stats()["out_of_memory"] == 1


def test_windows_are_as_narrow_afterwards_as_without_the_gate():
    model, ids = make_model("window"), torch.randint(0, 200, (TOKENS,))
    with tidegate.torch.prefill(gate_of(model), model, ids) as done:
        window = done.cache.layers[0]
    assert window.keys.shape[-2] == 31
    assert not window.record_past


def test_a_preallocated_cache_gives_the_same_logits_and_never_moves():
    model, ids = make_model("dense"), torch.randint(0, 200, (TOKENS,))
    expected = whole_prompt(model, ids)
    cache = tidegate.torch.PreallocatedCache(model.config, TOKENS)
    places = set()
    with tidegate.torch.prefill(
        gate_of(model, kv_cache="prealloc"), model, ids, past_key_values=cache, progress=lambda *_: places.add(cache.layers[0].keys.data_ptr())
    ) as done:
        torch.testing.assert_close(done.logits, expected, rtol=1e-4, atol=1e-5)
    assert len(places) == 1
    with pytest.raises(ValueError, match=f"at most {TOKENS} tokens, got {TOKENS + 1}"), torch.inference_mode():
        model(input_ids=ids[None, :1], past_key_values=cache)


def test_make_gate_takes_shape_and_attention_from_the_model():
    model = make_model("dense")
    gate = gate_of(model)
    assert gate.price(64, 256).route == "torch.transformers.sdpa.prealloc"
    assert gate_of(model, engine_options={"sdpa_kernel": "math"}).price(64, 256).route == "torch.transformers.sdpa_math.prealloc"
    assert gate_of(make_model("window")).price(64, 256).route == "torch.transformers.sdpa.dynamic"
    with pytest.raises(ValueError, match="attn_implementation: expected one of eager, flash_lr, sdpa"):
        gate_of(model, engine_options={"attention": "flex_attention"})
