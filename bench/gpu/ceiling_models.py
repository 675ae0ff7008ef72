# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Models, attention back-ends and the device of bench/gpu/ceiling.py."""

import dataclasses
import gc
import os

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import repeat_kv
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

import tidegate.torch

MIB = 1 << 20
ROPE = {"rope_type": "default", "rope_theta": 10000.0}

# Public shapes, two layers, so that every kind of layer of the model occurs once.
MODELS = {
    "llama3_8b": {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
    "qwen3_30b_a3b": {
        "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
        "num_experts_per_tok": 8, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936,
    },
    "gemma3_12b": {
        "model_type": "gemma3_text", "hidden_size": 3840, "intermediate_size": 15360, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 256, "sliding_window": 1024, "layer_types": ["sliding_attention", "full_attention"], "vocab_size": 262208,
    },
    "deepseek_v2_lite": {
        "model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 64,
        "n_shared_experts": 2, "num_experts_per_tok": 6, "q_lora_rank": None, "kv_lora_rank": 512, "num_attention_heads": 16,
        "num_key_value_heads": 16, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "first_k_dense_replace": 1,
        "topk_method": "greedy", "n_group": 1, "topk_group": 1, "vocab_size": 102400, "rope_parameters": ROPE,
    },
    "qwen3_next_80b_a3b": {"model_type": "qwen3_next", "layer_types": ["linear_attention", "full_attention"]},
}  # fmt: skip
KIND = {
    "llama3_8b": "dense", "qwen3_30b_a3b": "MoE", "gemma3_12b": "sliding window", "deepseek_v2_lite": "latent (MLA)",
    "qwen3_next_80b_a3b": "hybrid",
}  # fmt: skip

# The same kinds at a width that a CPU runs, for --tiny.
TINY = {
    "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 200,
    "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "sliding_window": 32, "n_routed_experts": 4, "kv_lora_rank": 16,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16, "shared_expert_intermediate_size": 32,
}  # fmt: skip
TINY_KEEPS = {"deepseek_v2": {"num_key_value_heads": 4}, "qwen3_next": {"num_experts": 4}}


@dataclasses.dataclass(frozen=True)
class Backend:
    """One way to compute attention, and how its price is asked for."""

    name: str
    implementation: str  # transformers' attn_implementation
    options: dict  # engine options beside attention and kv_cache
    prealloc: bool = True  # but for windows
    max_prompt: int = 262144  # what the ceiling is set for


BACKENDS = {
    "flash": Backend("flash", "flash_lr", {}),
    "sdpa": Backend("sdpa", "sdpa", {}),  # torch's choice: cuDNN here
    "efficient": Backend("efficient", "sdpa_efficient", {"sdpa_kernel": "efficient"}, max_prompt=131072),
    "math": Backend("math", "sdpa_math", {"sdpa_kernel": "math"}, max_prompt=32768),
    "eager": Backend("eager", "eager", {}, max_prompt=32768),
}


def forced(backend):
    """sdpa as transformers calls it, heads always repeated, one kernel allowed."""

    def attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_):
        groups = getattr(module, "num_key_value_groups", 1)
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
        with sdpa_kernel(backend):
            out = F.scaled_dot_product_attention(
                query, key, value, attn_mask=attention_mask, scale=scaling, is_causal=attention_mask is None and query.shape[2] > 1
            )
        return out.transpose(1, 2).contiguous(), None

    return attention


def register():
    tidegate.torch.register_flash()
    for name, kernel in (("sdpa_efficient", SDPBackend.EFFICIENT_ATTENTION), ("sdpa_math", SDPBackend.MATH)):
        AttentionInterface.register(name, forced(kernel))
        AttentionMaskInterface.register(name, sdpa_mask)


def build(name, device, tiny, layers=2):
    spec = {"num_hidden_layers": layers, **MODELS[name]}
    model_type = spec.pop("model_type")
    if tiny:
        spec.update({k: v for k, v in TINY.items() if k in spec or model_type == "qwen3_next"})
        spec.update(TINY_KEEPS.get(model_type, {}))
    config = AutoConfig.for_model(model_type, **{"max_position_embeddings": 300000, **spec})
    config.max_position_embeddings = 300000
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="eager")
    torch.set_default_dtype(torch.float32)
    return model.to(device).eval().requires_grad_(False)


def set_attention(model, implementation):
    try:
        model.set_attn_implementation(implementation)
    except Exception:
        model.config._attn_implementation = implementation
    if model.config._attn_implementation != implementation:
        raise RuntimeError(f"attention stayed {model.config._attn_implementation}")


def new_cache(model, backend, tokens):
    if backend.prealloc:
        return tidegate.torch.PreallocatedCache(model.config, tokens)
    return DynamicCache(config=model.config)


def filled_cache(model, backend, tokens, capacity):
    """A cache that holds `tokens` random tokens, without the steps that would have
    left them: a real chunk of 16, whose tensors are then widened."""
    cache = new_cache(model, backend, capacity)
    if tokens == 0:
        return cache
    device = next(model.parameters()).device
    model(input_ids=torch.randint(10, 190, (1, 16), device=device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or keys.dim() != 4 or keys.shape[-2] == 0:
            continue
        if getattr(layer, "_buffers", None) is not None:
            for buffer in layer._buffers:
                buffer[:, :, :tokens].normal_()
            layer.take(tokens)
            continue
        held = min(tokens, layer.sliding_window - 1) if getattr(layer, "is_sliding", False) else tokens

        def wide(t, held=held):
            return t.new_empty(*t.shape[:2], held, t.shape[3]).normal_()

        layer.keys = wide(keys)
        layer.values = wide(values)
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length = tokens
    return cache


def kv_bytes(model, tokens):
    """What a cache of so many tokens holds, by the shapes alone (no scratch)."""
    c = model.config
    total = 0
    kinds = getattr(c, "layer_types", None) or ["full_attention"] * c.num_hidden_layers
    for kind in kinds:
        if getattr(c, "kv_lora_rank", None):
            total += tokens * (c.kv_lora_rank + c.qk_rope_head_dim) * 2
        elif kind == "full_attention":
            total += tokens * 2 * c.num_key_value_heads * head_dim(c) * 2
        elif kind == "sliding_attention":
            total += min(tokens, c.sliding_window) * 2 * c.num_key_value_heads * head_dim(c) * 2
    return total


def head_dim(config):
    if getattr(config, "kv_lora_rank", None):
        return config.qk_nope_head_dim + config.qk_rope_head_dim
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


class Cuda:
    """The device, and its ceiling."""

    device = "cuda"

    def __init__(self):
        self.total = torch.cuda.get_device_properties(0).total_memory
        self.name = torch.cuda.get_device_name()

    def allocated(self):
        return torch.cuda.memory_allocated()

    def reserved(self):
        return torch.cuda.memory_reserved()

    def peak(self):
        return torch.cuda.max_memory_allocated()

    def peak_reserved(self):
        return torch.cuda.max_memory_reserved()

    def reset(self):
        torch.cuda.reset_peak_memory_stats()

    def sync(self):
        torch.cuda.synchronize()

    def set_ceiling(self, ceiling):
        """What the allocator may hold; None: everything."""
        torch.cuda.set_per_process_memory_fraction(1.0 if ceiling is None else ceiling / self.total)

    def clean(self):
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


class FakeCeiling:
    """On the CPU, for the logic alone: memory is what the price says, 3 % less."""

    device = "cpu"
    total = 1 << 40
    name = "cpu (fake ceiling)"

    def __init__(self):
        self.ceiling = None
        self.base = 0
        self.high = 0
        self.live = 0
        self.gate = None

    def watch(self, model, gate_of):
        self.base = sum(p.numel() * p.element_size() for p in model.parameters())
        self.gate = gate_of

        def before(module, args, kwargs):
            ids, cache = kwargs["input_ids"], kwargs["past_key_values"]
            n = ids.shape[1]
            done = max(layer.get_seq_length() if hasattr(layer, "get_seq_length") else 0 for layer in cache.layers)
            price = self.gate.price(n, n + int(done))
            self.live = self.base + kv_bytes(model, int(done))
            self.high = max(self.high, self.live + int(price.transient_bytes * 0.97) + price.resident_bytes)
            if self.ceiling is not None and self.high > self.ceiling:
                self.high = self.ceiling
                raise torch.OutOfMemoryError("CUDA out of memory (pretended)")

        model.register_forward_pre_hook(before, with_kwargs=True)

    def allocated(self):
        return max(self.live, self.base)

    reserved = allocated

    def peak(self):
        return max(self.high, self.allocated())

    peak_reserved = peak

    def reset(self):
        self.high = 0

    def sync(self):
        pass

    def set_ceiling(self, ceiling):
        self.ceiling = ceiling

    def clean(self):
        self.live = self.base
        self.high = 0


def open_device():
    if os.environ.get("TIDEGATE_BENCH_CPU"):
        return FakeCeiling()
    tidegate.torch.use_expandable_segments()
    return Cuda()


# What a layer of DynamicCache is, for whoever asks.
__all__ = ["BACKENDS", "KIND", "MODELS", "DynamicLayer", "build", "filled_cache", "kv_bytes", "new_cache", "open_device", "register", "set_attention"]
