# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""mlx-lm models with random weights through a Gate, on the CPU."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

mx = pytest.importorskip("mlx.core")
pytest.importorskip("mlx_lm")

from mlx_lm.generate import generate_step as mlx_lm_generate_step  # noqa: E402
from mlx_lm.models.cache import make_prompt_cache  # noqa: E402

import tidegate  # noqa: E402
import tidegate.mlx  # noqa: E402

DENSE: dict[str, Any] = {
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "rope_theta": 10000.0,
    "max_position_embeddings": 8192,
    "torch_dtype": "float32",
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {**DENSE, "model_type": "llama"},
    "qwen3": {**DENSE, "model_type": "qwen3", "head_dim": 64, "num_key_value_heads": 4},
    # A window shorter than the prompt, in two layers of three.
    "gemma3_text": {
        **DENSE,
        "model_type": "gemma3_text",
        "head_dim": 64,
        "num_hidden_layers": 3,
        "sliding_window": 128,
        "sliding_window_pattern": 3,
        "num_key_value_heads": 1,
    },
    "qwen3_moe": {
        **DENSE,
        "model_type": "qwen3_moe",
        "head_dim": 32,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
    },
    # Recurrent state, which no one can trim.
    "granitemoehybrid": {
        **DENSE,
        "model_type": "granitemoehybrid",
        "num_hidden_layers": 3,
        "layer_types": ["mamba", "attention", "mamba"],
        "mamba_n_heads": 8,
        "mamba_d_head": 32,
        "mamba_d_state": 16,
        "mamba_n_groups": 1,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "mamba_proj_bias": False,
        "mamba_conv_bias": True,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 64,
        "embedding_multiplier": 1.0,
        "attention_multiplier": 0.125,
        "logits_scaling": 1.0,
        "residual_multiplier": 1.0,
        "attention_bias": False,
        "mlp_bias": False,
        "position_embedding_type": "nope",
    },
}
TOKENS = 900


@pytest.fixture(autouse=True)
def on_the_cpu():
    mx.set_default_device(mx.cpu)
    mx.random.seed(7)


def make_model(name: str) -> Any:
    config = MODELS[name]
    module = importlib.import_module("mlx_lm.models." + config["model_type"])
    model = module.Model(module.ModelArgs.from_dict(config))
    mx.eval(model.parameters())
    return model


def make_gate(name: str = "llama", **arguments: Any) -> tidegate.Gate:
    arguments = {"ceiling": "64 GiB", "base": 0, "chunk_max": 192, "chunk_floor": 16, "chunk_quantum": 16, **arguments}
    return tidegate.mlx.gate(None, MODELS[name], **arguments)


def make_prompt(tokens: int = TOKENS) -> Any:
    return mx.random.randint(0, DENSE["vocab_size"], (tokens,))


def single_chunk(model: Any, prompt: Any) -> Any:
    return model(prompt[None], cache=make_prompt_cache(model))[0, -1]


def assert_same(logits: Any, expected: Any) -> None:
    # Sums in another order, in 32 bits: far below what a wrong position gives.
    scale = mx.abs(expected).max().item()
    assert mx.abs(logits - expected).max().item() < 2e-4 * max(scale, 1.0)


pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_one_chunk(name):
    model, prompt, progress = make_model(name), make_prompt(), []
    gate = make_gate(name)
    with tidegate.mlx.prefill(gate, model, prompt, progress=lambda *at: progress.append(at)) as done:
        assert_same(done.logits, single_chunk(model, prompt))
        assert done.request.computed
    assert gate.stats()["steps"] == 5  # 900 tokens in chunks of 192
    assert progress == [(0, 900), (192, 900), (384, 900), (576, 900), (768, 900), (900, 900)]


@pytest.mark.parametrize("name", MODELS)
def test_a_prefix_in_the_cache_is_not_computed_again(name):
    model, prompt = make_model(name), make_prompt()
    cache = make_prompt_cache(model)
    model(prompt[:500][None], cache=cache)
    mx.eval([entry.state for entry in cache])
    gate = make_gate(name)
    with tidegate.mlx.prefill(gate, model, prompt, prompt_cache=cache, cached_tokens=500) as done:
        assert_same(done.logits, single_chunk(model, prompt))
        assert done.cache is cache
    assert gate.stats()["steps"] == 3


def test_a_prompt_that_is_cached_whole_gives_its_last_logits():
    model, prompt = make_model("llama"), make_prompt()
    cache = make_prompt_cache(model)
    model(prompt[None], cache=cache)
    with tidegate.mlx.prefill(make_gate(), model, prompt, prompt_cache=cache, cached_tokens=TOKENS) as done:
        assert_same(done.logits, single_chunk(model, prompt))
        assert cache[0].offset == TOKENS


def test_generated_tokens_are_those_of_mlx_lm():
    model, prompt = make_model("llama"), make_prompt()
    expected = [token for token, _ in mlx_lm_generate_step(prompt, model, max_tokens=12)]
    gate = make_gate()
    tokens = [token for token, _ in tidegate.mlx.generate_step(gate, prompt, model, max_tokens=12)]
    assert tokens == expected
    assert gate.stats()["finished"] == 1


def test_a_client_that_leaves_while_decoding_ends_its_request():
    gate = make_gate()
    steps = tidegate.mlx.generate_step(gate, make_prompt(), make_model("llama"), max_tokens=50)
    next(steps)
    assert gate.stats()["claimed_bytes"] > 0
    steps.close()
    assert gate.stats()["claimed_bytes"] == gate.stats()["resident_bytes"] == 0


def test_peaks_that_mlx_measured_are_below_the_price():
    model = make_model("llama")
    gate = make_gate(base=None, memory=tidegate.mlx.live_bytes, estimator="catalog")
    measured = []
    with gate.request(TOKENS) as r:
        work = tidegate.mlx._Prompt(model, make_prompt(), None, 0, None, None)
        for chunk in r.chunks():
            before = mx.get_active_memory()
            work.compute(chunk, with_logits=True)
            measured.append((mx.get_peak_memory() - before, chunk.transient_bytes + chunk.resident_bytes))
    # The first chunk's step also grows the cache to whole steps of 256 tokens.
    assert all(0 < peak for peak, _ in measured)
    assert sum(peak for peak, _ in measured) <= sum(price for _, price in measured)


class Failing:
    """A model that runs out of memory in one call, after it changed the cache."""

    def __init__(self, model: Any, wide: int, error: Exception, times: int = 1):
        self.model, self.wide, self.error, self.times = model, wide, error, times
        self.layers = model.layers
        if hasattr(model, "make_cache"):
            self.make_cache = model.make_cache

    def __call__(self, tokens: Any, cache: Any) -> Any:
        logits = self.model(tokens, cache=cache)
        if self.times > 0 and tokens.shape[1] >= self.wide and cache[0].offset > 300 if hasattr(cache[0], "offset") else self.times > 0:
            self.times -= 1
            raise self.error
        return logits


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "granitemoehybrid"])
def test_out_of_memory_is_tried_narrower_on_the_cache_of_before(name):
    model, prompt = make_model(name), make_prompt()
    failing = Failing(model, 192, RuntimeError("[malloc] Unable to allocate 123 bytes."))
    gate, progress = make_gate(name), []
    with tidegate.mlx.prefill(gate, failing, prompt, progress=lambda done, _: progress.append(done)) as done:
        assert_same(done.logits, single_chunk(model, prompt))
    assert failing.times == 0
    assert gate.stats()["out_of_memory"] == 1
    assert gate.stats()["finished"] == 1
    widths = [after - before for before, after in zip(progress, progress[1:])]
    assert 96 in widths  # half of 192


def test_out_of_memory_behind_a_cached_prefix_rebuilds_the_prefix_too():
    model, prompt = make_model("llama"), make_prompt()
    cache = make_prompt_cache(model)
    model(prompt[:500][None], cache=cache)
    failing = Failing(model, 192, RuntimeError("[metal::malloc] Attempting to allocate 1 bytes"))
    with tidegate.mlx.prefill(make_gate(), failing, prompt, prompt_cache=cache, cached_tokens=500) as done:
        assert_same(done.logits, single_chunk(model, prompt))
    assert failing.times == 0


def test_another_error_is_raised_and_leaves_the_gate_usable():
    model, gate = make_model("llama"), make_gate()
    failing = Failing(model, 1, RuntimeError("[matmul] shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"), tidegate.mlx.prefill(gate, failing, make_prompt()):
        pytest.fail("entered")
    assert gate.stats()["cancelled"] == 1
    with tidegate.mlx.prefill(gate, model, make_prompt()):
        pass


def test_a_prompt_that_cannot_fit_is_refused_before_anything_runs():
    gate = make_gate(ceiling="1 GiB", base="1023 MiB", memory=None)
    with pytest.raises(tidegate.Refused) as refused, tidegate.mlx.prefill(gate, make_model("llama"), make_prompt()):
        pytest.fail("entered")
    assert refused.value.code == "too_large"
    assert gate.stats()["steps"] == 0


def test_the_gate_reads_mlx_and_empties_its_pool():
    gate = make_gate()
    gate.reading()
    assert gate.stats()["live_bytes"] == tidegate.mlx.live_bytes()
    assert gate.engine.startswith("mlx@")
    assert gate.engine.endswith("/cpu")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"cached_tokens": 5}, "cached_tokens: expected 0 without a prompt_cache"), ({"tokens": [[1, 2]]}, "one dimension")],
)
def test_bad_arguments_are_named(arguments, says):
    arguments = {"tokens": [1, 2, 3, 4, 5, 6], **arguments}
    with pytest.raises(ValueError, match=says), tidegate.mlx.prefill(make_gate(), make_model("llama"), **arguments):
        pass
