#!/usr/bin/env python3
"""Measures the transient GPU memory of one prefill chunk through whole models.

Needs a CUDA machine with torch 2.11 and transformers 5.17.0, nothing else: no network and no weights. Each model is
built on the GPU from a configuration written here (two to four layers, chosen so that every layer kind of the model
appears once), with random bf16 weights, a full-size embedding and head, and logits for the last token only.

One row per (model, attention, cache, n, L): a cache that already holds L - n tokens is made, the allocator is emptied,
the peak is reset, one chunk of n tokens runs once, and the peak less the bytes live before the chunk is written
(`transient_bytes`). A second run with hooks around attention, MLP, MoE and linear-attention modules gives the
peak inside each part. With --profile, one cell per (model, attention, cache) also writes the blocks that are alive at
the peak of each part, with the source line that allocated each.

  measure_model.py --out DIR [--models a,b,c] [--seconds 480] [--seconds_per_model 14] [--profile]

Output: DIR/rows.csv (the columns of tests/data/h200/model_h200.csv), DIR/configs.json, DIR/blocks.jsonl, DIR/errors.txt.
"""

import argparse
import csv
import gc
import json
import os
import sys
import time
import traceback

import torch
import torch.nn.functional as F
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import AttentionMaskInterface

ROPE = {"rope_type": "default", "rope_theta": 10000.0}
SLIDING_FULL = ["sliding_attention", "full_attention"]
LINEAR_FULL = ["linear_attention", "full_attention"]


def _Model(model_type, **overrides):
  return {"model_type": model_type, "num_hidden_layers": 2, **overrides}


# Public shapes. Where nothing but the depth is given, the configuration class's defaults are the released model's.
MODELS = {
    "llama3_8b": _Model("llama", hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256),
    "qwen3_8b": _Model("qwen3", hidden_size=4096, intermediate_size=12288, num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=151936),
    "gemma3_12b": _Model("gemma3_text", hidden_size=3840, intermediate_size=15360, num_attention_heads=16, num_key_value_heads=8, head_dim=256,
                         sliding_window=1024, layer_types=SLIDING_FULL, vocab_size=262208),
    "deepseek_v2_lite": _Model("deepseek_v2", hidden_size=2048, intermediate_size=10944, moe_intermediate_size=1408, n_routed_experts=64,
                               n_shared_experts=2, num_experts_per_tok=6, q_lora_rank=None, kv_lora_rank=512, num_attention_heads=16,
                               num_key_value_heads=16, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, first_k_dense_replace=1,
                               topk_method="greedy", n_group=1, topk_group=1, vocab_size=102400, rope_parameters=ROPE),
    "qwen3_next_80b_a3b": _Model("qwen3_next", layer_types=LINEAR_FULL),
    "gpt_oss_20b": _Model("gpt_oss", num_local_experts=32, num_experts_per_tok=4, layer_types=SLIDING_FULL),
    # Shapes that no term of the law was looked up from.
    "llama3_70b": _Model("llama", hidden_size=8192, intermediate_size=28672, num_attention_heads=64, num_key_value_heads=8, vocab_size=128256),
    "qwen3_30b_a3b": _Model("qwen3_moe", hidden_size=2048, intermediate_size=6144, moe_intermediate_size=768, num_experts=128, num_experts_per_tok=8,
                            num_attention_heads=32, num_key_value_heads=4, head_dim=128, vocab_size=151936),
    "qwen3_5_27b": _Model("qwen3_5_text", hidden_size=5120, intermediate_size=17408, num_attention_heads=24, num_key_value_heads=4,
                          linear_num_value_heads=48, layer_types=LINEAR_FULL),
    "qwen3_5_35b_a3b": _Model("qwen3_5_moe_text", layer_types=LINEAR_FULL),
    "mixtral_8x7b": _Model("mixtral", hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8, sliding_window=None),
    "deepseek_v3": _Model("deepseek_v3", first_k_dense_replace=1, n_routed_experts=64),
    "gemma2_9b": _Model("gemma2", hidden_size=3584, intermediate_size=14336, num_attention_heads=16, num_key_value_heads=8, head_dim=256,
                        sliding_window=4096, layer_types=SLIDING_FULL),
    "gemma4_31b": _Model("gemma4_text", hidden_size=5376, intermediate_size=21504, num_attention_heads=32, num_key_value_heads=16, head_dim=256,
                         global_head_dim=512, num_global_key_value_heads=4, attention_k_eq_v=True, sliding_window=1024,
                         hidden_size_per_layer_input=0, layer_types=SLIDING_FULL),
    "gemma4_26b_a4b": _Model("gemma4_text", hidden_size=2816, intermediate_size=2112, num_attention_heads=16, num_key_value_heads=8, head_dim=256,
                             global_head_dim=512, num_global_key_value_heads=2, attention_k_eq_v=True, sliding_window=1024,
                             hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=128, top_k_experts=8,
                             moe_intermediate_size=704, layer_types=SLIDING_FULL),
    "gpt_oss_120b": _Model("gpt_oss", num_local_experts=128, num_experts_per_tok=4, layer_types=SLIDING_FULL),
    "phi3_mini": _Model("phi3", sliding_window=None, pad_token_id=0),
    "phi4": _Model("phi3", hidden_size=5120, intermediate_size=17920, num_attention_heads=40, num_key_value_heads=10, vocab_size=100352,
                   sliding_window=None, pad_token_id=0),
    "mistral_7b": _Model("mistral", sliding_window=None, vocab_size=32768),
    "mistral_7b_swa": _Model("mistral", sliding_window=4096),
    "olmo2_7b": _Model("olmo2", vocab_size=100352),
    "olmo3_7b": _Model("olmo3", vocab_size=100278, layer_types=SLIDING_FULL, sliding_window=4096),
    "glm4_9b": _Model("glm4", num_attention_heads=32, num_key_value_heads=2, pad_token_id=0, eos_token_id=1),
    "glm4_5_air": _Model("glm4_moe", hidden_size=4096, intermediate_size=10944, num_attention_heads=96, num_key_value_heads=8, head_dim=128,
                         moe_intermediate_size=1408, n_routed_experts=128, num_experts_per_tok=8, n_shared_experts=1, first_k_dense_replace=1),
    "granite3_8b": _Model("granite", hidden_size=4096, intermediate_size=12800, num_attention_heads=32, num_key_value_heads=8, vocab_size=49155),
    "granite4_h_small": _Model("granitemoehybrid", hidden_size=4096, intermediate_size=768, shared_intermediate_size=1536, num_local_experts=72,
                               num_experts_per_tok=10, num_attention_heads=32, num_key_value_heads=8, mamba_n_heads=128, mamba_d_head=64,
                               mamba_d_state=128, vocab_size=100352, position_embedding_type="nope", layer_types=LINEAR_FULL),
    "nemotron_h_8b": {"model_type": "nemotron_h", "layer_types": ["linear_attention", "mlp", "full_attention"], "num_hidden_layers": 3,
                      "mamba_num_heads": 128, "mamba_head_dim": 64, "ssm_state_size": 128},
    "nemotron3_nano": {"model_type": "nemotron_h", "layer_types": ["linear_attention", "moe", "full_attention"], "num_hidden_layers": 3,
                       "hidden_size": 2688, "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128, "mamba_num_heads": 64,
                       "mamba_head_dim": 64, "ssm_state_size": 128, "n_routed_experts": 128, "num_experts_per_tok": 6,
                       "moe_intermediate_size": 1856, "moe_shared_expert_intermediate_size": 3712},
    "falcon_h1_7b": _Model("falcon_h1", hidden_size=3072, intermediate_size=12288, num_attention_heads=12, num_key_value_heads=2, head_dim=128,
                           mamba_d_ssm=3072, mamba_n_heads=24, mamba_d_head=128, mamba_d_state=256, vocab_size=130048),
    "gemma3_27b": _Model("gemma3_text", hidden_size=5376, intermediate_size=21504, num_attention_heads=32, num_key_value_heads=16, head_dim=128,
                         sliding_window=1024, layer_types=SLIDING_FULL),
    "gemma3_4b": _Model("gemma3_text", hidden_size=2560, intermediate_size=10240, num_attention_heads=8, num_key_value_heads=4, head_dim=256,
                        sliding_window=1024, layer_types=SLIDING_FULL),
    "command_r": _Model("cohere"),
    "command_r7b": _Model("cohere2", hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8, sliding_window=4096,
                          layer_types=SLIDING_FULL),
    "qwen2_7b": _Model("qwen2", hidden_size=3584, intermediate_size=18944, num_attention_heads=28, num_key_value_heads=4, vocab_size=152064),
    "minimax_text": _Model("minimax", hidden_size=6144, intermediate_size=9216, num_attention_heads=64, num_key_value_heads=8, head_dim=128,
                           num_local_experts=32, vocab_size=200064, layer_types=LINEAR_FULL, pad_token_id=0),
    "minimax_m2": _Model("minimax_m2", num_local_experts=64),
    "llama4_scout": _Model("llama4_text", num_local_experts=16, layer_types=["chunked_attention", "full_attention"], moe_layers=[1]),
    "deepseek_v2": _Model("deepseek_v2", hidden_size=5120, intermediate_size=12288, moe_intermediate_size=1536, n_routed_experts=160,
                          n_shared_experts=2, num_experts_per_tok=6, q_lora_rank=1536, num_attention_heads=128, num_key_value_heads=128,
                          first_k_dense_replace=1, topk_method="group_limited_greedy", n_group=8, topk_group=3, vocab_size=102400, rope_parameters=ROPE),
    "glm4_moe_lite": _Model("glm4_moe_lite"),
    "kimi_linear": _Model("kimi_linear", layer_types=LINEAR_FULL, num_local_experts=64, pad_token_id=0),
    "qwen2_moe_57b": _Model("qwen2_moe", hidden_size=3584, intermediate_size=18944, moe_intermediate_size=2560, shared_expert_intermediate_size=20480,
                            num_attention_heads=28, num_key_value_heads=4, num_experts=64, num_experts_per_tok=8),
    "olmoe": _Model("olmoe"),
    "granitemoe_3b": _Model("granitemoe", hidden_size=1536, intermediate_size=512, num_attention_heads=24, num_key_value_heads=8,
                            num_local_experts=40, num_experts_per_tok=8, vocab_size=49155),
    "phi3_5_moe": _Model("phimoe"),
    "exaone4_32b": _Model("exaone4", hidden_size=5120, intermediate_size=27392, num_attention_heads=40, num_key_value_heads=8, sliding_window=4096,
                          layer_types=SLIDING_FULL),
    "gemma_7b": _Model("gemma"),
    "smollm3_3b": _Model("smollm3", pad_token_id=0),
    "starcoder2_15b": _Model("starcoder2", hidden_size=6144, intermediate_size=24576, num_attention_heads=48, num_key_value_heads=4, sliding_window=4096),
    "bamba_9b": _Model("bamba", attn_layer_indices=[1]),
    "jamba_mini": _Model("jamba", attn_layer_offset=1, attn_layer_period=2),
    "ernie4_5_moe": _Model("ernie4_5_moe"),
    "lfm2_moe": _Model("lfm2_moe", layer_types=["conv", "full_attention"]),
    "stablelm": _Model("stablelm"),
    "nemotron_8b": _Model("nemotron"),
    "dots1": _Model("dots1", n_routed_experts=64, num_experts_per_tok=6, n_shared_experts=2, first_k_dense_replace=1),
    "hunyuan_moe": _Model("hunyuan_v1_moe", num_experts=16, moe_topk=1, pad_token_id=0),
    "seed_oss": _Model("seed_oss"),
    "ministral_8b": _Model("ministral", hidden_size=4096, intermediate_size=12288, num_attention_heads=32, num_key_value_heads=8, head_dim=128,
                           layer_types=SLIDING_FULL, sliding_window=32768),
}

# Cells in the order of their worth: what the time limit of a model cuts off is the least telling.
CELLS = [
    ("sdpa", "dynamic", 1024, 8192), ("eager", "dynamic", 1024, 8192), ("flash_lr", "prealloc", 1024, 8192),
    ("sdpa", "dynamic", 2048, 2048), ("eager", "dynamic", 2048, 2048), ("flash_lr", "dynamic", 1024, 8192),
    ("sdpa", "dynamic", 4096, 32768), ("sdpa", "dynamic", 256, 8192), ("flash_lr", "prealloc", 256, 32768),
    ("eager", "dynamic", 256, 8192), ("sdpa", "dynamic", 777, 10000), ("sdpa", "dynamic", 1024, 131072),
    ("sdpa", "prealloc", 1024, 8192), ("flash_lr", "prealloc", 4096, 32768), ("eager", "dynamic", 777, 10000),
    ("sdpa", "dynamic", 4096, 8192), ("sdpa", "dynamic", 512, 512), ("eager", "dynamic", 2048, 32768),
    ("flash_lr", "prealloc", 777, 10000), ("sdpa", "dynamic", 128, 131072), ("eager", "dynamic", 4096, 8192),
    ("eager", "dynamic", 128, 32768), ("flash_lr", "dynamic", 128, 32768), ("flash_lr", "dynamic", 512, 512),
    ("sdpa", "dynamic", 8192, 8192), ("sdpa", "dynamic", 8192, 32768), ("eager", "dynamic", 512, 512),
    ("sdpa", "prealloc", 2048, 32768), ("sdpa", "dynamic", 128, 128), ("flash_lr", "dynamic", 3000, 50001),
    ("eager", "prealloc", 1024, 8192), ("flash_lr", "dynamic", 2048, 2048), ("sdpa", "dynamic", 3000, 50001),
    ("sdpa", "dynamic", 512, 65536), ("eager", "dynamic", 3000, 10000), ("sdpa", "dynamic", 2048, 8192),
    ("sdpa", "dynamic", 256, 256), ("flash_lr", "prealloc", 128, 131072), ("eager", "dynamic", 128, 128),
]

COLUMNS = ("model,model_type,layers_measured,layer_kinds,attn,cache,n,L,status,reason,weights_bytes,kv_bytes_added,kv_storage_added,"
           "kv_storage_before,kv_storage_after,transient_bytes,transient_net_bytes,transient_requested_bytes,reserved_delta_bytes,"
           "peak_full_bytes,peak_sliding_bytes,peak_linear_bytes,peak_mlp_bytes,peak_moe_bytes,peak_other_bytes,entry_full_bytes,"
           "entry_sliding_bytes,entry_linear_bytes,entry_mlp_bytes,entry_moe_bytes,entry_other_bytes,ms,device,torch,transformers").split(",")


def FlashLowerRight(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
  """Attention without a mask tensor: FLASH with the lower-right causal bias, on grouped heads."""
  bias = causal_lower_right(query.shape[2], key.shape[2])
  with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scaling, enable_gqa=key.shape[1] != query.shape[1])
  return out.transpose(1, 2).contiguous(), None


AttentionInterface.register("flash_lr", FlashLowerRight)
AttentionMaskInterface.register("flash_lr", lambda *args, **kwargs: None)


class PreallocLayer(DynamicLayer):
  """A full-attention cache layer that writes into one buffer instead of concatenating."""

  def __init__(self, keys, values, used):
    super().__init__()
    self.key_buffer, self.value_buffer, self.used = keys, values, used
    self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
    self.keys, self.values = keys[:, :, :used], values[:, :, :used]

  def update(self, key_states, value_states, *args, **kwargs):
    end = self.used + key_states.shape[-2]
    self.key_buffer[:, :, self.used:end] = key_states
    self.value_buffer[:, :, self.used:end] = value_states
    self.used = end
    self.keys, self.values = self.key_buffer[:, :, :end], self.value_buffer[:, :, :end]
    return self.keys, self.values

  def get_seq_length(self):
    return self.used


def TensorsOf(cache):
  for layer in cache.layers:
    for value in vars(layer).values():
      if isinstance(value, torch.Tensor):
        yield value
      elif isinstance(value, (list, tuple)):
        yield from (v for v in value if isinstance(v, torch.Tensor))
      elif isinstance(value, dict):
        yield from (v for v in value.values() if isinstance(v, torch.Tensor))


def ContentBytes(cache):
  if cache is None:
    return 0
  return sum(t.numel() * t.element_size() for layer in cache.layers
             for name in ("keys", "values", "indexer_keys", "conv_states", "recurrent_states")
             for value in [getattr(layer, name, None)]
             for t in (value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else [value])
             if isinstance(t, torch.Tensor) and t.is_cuda)


def StorageBytes(cache):
  if cache is None:
    return 0
  storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in TensorsOf(cache) if t.is_cuda and t.numel()}
  return sum(storages.values())


def MakeCache(model, kind, n, kv_len):
  """A cache that holds kv_len - n random tokens: a real chunk of 16 tokens, whose tensors are then widened."""
  past = kv_len - n
  cache = DynamicCache(config=model.config)
  if past == 0 and kind == "dynamic":
    return cache
  model(input_ids=torch.randint(10, 1000, (1, 16), device="cuda"), past_key_values=cache, use_cache=True, logits_to_keep=1)
  for index, layer in enumerate(cache.layers):
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    if keys is None or keys.dim() != 4 or keys.shape[-2] == 0:
      continue
    sliding = getattr(layer, "is_sliding", False)
    held = min(past, layer.sliding_window - 1) if sliding else past
    def Wide(t, length):
      return torch.empty(*t.shape[:2], length, t.shape[3], dtype=t.dtype, device="cuda").normal_()
    if kind == "prealloc" and type(layer) is DynamicLayer:
      cache.layers[index] = PreallocLayer(Wide(keys, kv_len), Wide(values, kv_len), past)
      continue
    layer.keys, layer.values = Wide(keys, held), Wide(values, held)
    if hasattr(layer, "cumulative_length"):
      layer.cumulative_length = past
  return cache


def PartOf(name, module, layer_type):
  cls = type(module).__name__.lower()
  if "norm" in cls or "dropout" in cls or "identity" in cls:
    return None
  if any(w in cls for w in ("deltanet", "mamba", "lightning", "shortconv", "deltaattention", "mixer2", "linearattention")):
    return "linear"
  if "attention" in cls:
    sliding = layer_type in ("sliding_attention", "chunked_attention") or (layer_type is None and getattr(module, "sliding_window", None))
    return "sliding" if sliding else "full"
  if any(hasattr(module, a) for a in ("experts", "router")) or "moe" in cls or "sparse" in cls or "expert" in cls:
    return "moe"
  if "mlp" in cls or "feedforward" in cls or "router" in cls:
    return "mlp"
  return None


class PartPeaks:
  """Peak of each part of the step, by hooks that read and reset the allocator's peak."""

  def __init__(self, base):
    self.base, self.peak, self.entry, self.handles, self.stack = base, {}, {}, [], []
    self.live = 0

  def Note(self, part, entry):
    peak = torch.cuda.max_memory_allocated() - self.base
    if peak > self.peak.get(part, -1):
      self.peak[part], self.entry[part] = peak, entry
    torch.cuda.reset_peak_memory_stats()

  def Enter(self, part):
    self.Note(self.stack[-1][0] if self.stack else "other", self.stack[-1][1] if self.stack else self.live)
    self.stack.append((part, torch.cuda.memory_allocated() - self.base))

  def Leave(self):
    part, entry = self.stack.pop()
    self.Note(part, entry)
    self.live = torch.cuda.memory_allocated() - self.base

  def Attach(self, modules):
    for module, part in modules:
      self.handles.append(module.register_forward_pre_hook(lambda m, a, part=part: self.Enter(part)))
      self.handles.append(module.register_forward_hook(lambda m, a, o: self.Leave()))

  def Detach(self):
    for handle in self.handles:
      handle.remove()


def Parts(model):
  decoder = model.get_decoder() if hasattr(model, "get_decoder") else model.model
  layers = getattr(decoder, "layers", None)
  kinds = getattr(model.config, "layer_types", None)
  modules, names = [], []
  for index, layer in enumerate(layers):
    layer_type = kinds[index] if kinds else None
    own = []
    for name, child in layer.named_children():
      part = PartOf(name, child, layer_type)
      if part:
        modules.append((child, part))
        own.append(part)
    names.append("/".join(dict.fromkeys(own)))
  return modules, "+".join(names)


def Settle():
  gc.collect()
  torch.cuda.synchronize()
  torch.cuda.empty_cache()
  torch.cuda.reset_peak_memory_stats()


def RunOnce(model, ids, cache):
  return model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)


def Cell(model, modules, attn, kind, n, kv_len, profile_to=None, label=None):
  ids = torch.randint(10, 1000, (1, n), device="cuda")
  cache = MakeCache(model, kind, n, kv_len)
  Settle()
  row = {"kv_storage_before": StorageBytes(cache)}
  content = ContentBytes(cache)
  base = torch.cuda.memory_allocated()
  base_requested = torch.cuda.memory_stats()["requested_bytes.all.current"]
  reserved = torch.cuda.memory_reserved()
  out = RunOnce(model, ids, cache)
  torch.cuda.synchronize()
  stats = torch.cuda.memory_stats()
  row["transient_bytes"] = stats["allocated_bytes.all.peak"] - base
  row["transient_requested_bytes"] = stats["requested_bytes.all.peak"] - base_requested
  row["reserved_delta_bytes"] = stats["reserved_bytes.all.current"] - reserved
  del out
  gc.collect()
  row["transient_net_bytes"] = row["transient_bytes"] - (torch.cuda.memory_allocated() - base)
  row["kv_storage_after"] = StorageBytes(cache)
  row["kv_storage_added"] = row["kv_storage_after"] - row["kv_storage_before"]
  row["kv_bytes_added"] = n * content // max(1, kv_len) if kind == "prealloc" and kv_len == n else ContentBytes(cache) - content
  del cache

  cache = MakeCache(model, kind, n, kv_len)
  Settle()
  start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
  peaks = PartPeaks(torch.cuda.memory_allocated())
  peaks.Attach(modules)
  try:
    start.record()
    out = RunOnce(model, ids, cache)
    end.record()
    torch.cuda.synchronize()
    peaks.Note("other", peaks.live)
  finally:
    peaks.Detach()
  row["ms"] = round(start.elapsed_time(end), 3)
  for part, value in peaks.peak.items():
    row[f"peak_{part}_bytes"], row[f"entry_{part}_bytes"] = value, peaks.entry[part]
  del out, cache

  if profile_to is not None:
    cache = MakeCache(model, kind, n, kv_len)
    Settle()
    Profile(model, modules, ids, cache, profile_to, label)
    del cache
  return row


# Marker allocations cut the allocator's history into parts; no model allocates blocks of exactly these sizes.
MARK = {"full": 512 * 1009, "sliding": 512 * 1013, "linear": 512 * 1019, "mlp": 512 * 1021, "moe": 512 * 1031, "end": 512 * 1033}


def Profile(model, modules, ids, cache, out, label):
  """Writes the blocks alive at the peak of each part, each with the line that allocated it."""
  def Mark(part):
    torch.empty(MARK[part], dtype=torch.uint8, device="cuda")
  handles = []
  for module, part in modules:
    handles.append(module.register_forward_pre_hook(lambda m, a, part=part: Mark(part)))
    handles.append(module.register_forward_hook(lambda m, a, o: Mark("end")))
  torch.cuda.memory._record_memory_history(context="alloc", stacks="python", max_entries=200000, clear_history=True)
  try:
    result = RunOnce(model, ids, cache)
    torch.cuda.synchronize()
    trace = torch.cuda.memory._snapshot()["device_traces"][torch.cuda.current_device()]
  finally:
    torch.cuda.memory._record_memory_history(enabled=None)
    for handle in handles:
      handle.remove()
  del result
  sizes = {v: k for k, v in MARK.items()}
  live, total, part, best = {}, 0, "other", {}
  for event in trace:
    if event["action"] == "alloc":
      if event["size"] in sizes:
        part = sizes[event["size"]]
        part = "other" if part == "end" else part
      live[event["addr"]] = event
      total += event["size"]
      if total > best.get(part, (0,))[0]:
        best[part] = (total, list(live.values()))
    elif event["action"] == "free_requested" and event["addr"] in live:
      total -= live.pop(event["addr"])["size"]
    elif event["action"] == "free_requested":
      total -= event["size"]
  for part, (size, blocks) in best.items():
    lines = {}
    for b in blocks:
      frames = [f for f in b.get("frames", []) if f["filename"].endswith(".py")]
      inner = [f for f in frames if "transformers" in f["filename"] or "measure_model" in f["filename"]] or frames
      where = " < ".join(f"{os.path.basename(f['filename'])}:{f['line']}:{f['name']}" for f in inner[:3])
      key = (b["size"], where)
      lines[key] = lines.get(key, 0) + 1
    rows = sorted(([s, c, w] for (s, w), c in lines.items()), key=lambda r: -r[0] * r[1])[:40]
    out.write(json.dumps({**label, "part": part, "peak": size, "blocks": rows}) + "\n")
  out.flush()


def Measure(name, spec, args, writer, sink, configs, blocks):
  started = time.time()
  spec = dict(spec)
  config = AutoConfig.for_model(spec.pop("model_type"), **{"max_position_embeddings": 300000, **spec})
  config.max_position_embeddings = 300000
  torch.set_default_dtype(torch.bfloat16)
  with torch.device("cuda"):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="eager")
  model = model.to("cuda").eval().requires_grad_(False)
  torch.set_default_dtype(torch.float32)
  configs[name] = json.loads(config.to_json_string(use_diff=False))
  weights = sum(p.numel() * p.element_size() for p in {id(p): p for p in model.parameters()}.values())
  modules, kinds = Parts(model)
  print(f"{name}: built in {time.time() - started:.1f} s, {weights >> 20} MiB, {kinds}; "
        + ", ".join(f"{type(m).__name__}={p}" for m, p in modules), flush=True)
  windowed = "sliding" in {p for _, p in modules} or (getattr(config, "layer_types", None) is None and bool(getattr(config, "sliding_window", None)))
  done = skipped = 0
  broken = {}
  seen = set()
  for attn, kind, n, kv_len in CELLS:
    if time.time() - started > args.seconds_per_model or time.time() - args.started > args.seconds:
      skipped += 1
      continue
    if broken.get(attn, 0) >= 2:
      continue
    if windowed and (attn == "flash_lr" or kind == "prealloc"):
      continue  # the lower-right bias knows no window, the buffer no sliding
    if config.model_type == "gpt_oss" and attn != "eager":
      continue  # its sinks exist in eager only; others run but ignore them
    row = {"model": name, "model_type": config.model_type, "layers_measured": len(kinds.split("+")), "layer_kinds": kinds, "attn": attn,
           "cache": kind, "n": n, "L": kv_len, "status": "ok", "weights_bytes": weights, "device": torch.cuda.get_device_name(),
           "torch": torch.__version__, "transformers": transformers.__version__}
    try:
      try:
        model.set_attn_implementation(attn)
      except Exception:
        model.config._attn_implementation = attn
      if model.config._attn_implementation != attn:
        raise RuntimeError(f"attention stayed {model.config._attn_implementation}")
      profile = args.profile and (attn, kind) not in seen
      label = {"model": name, "attn": attn, "cache": kind, "n": n, "L": kv_len}
      row.update(Cell(model, modules, attn, kind, n, kv_len, blocks if profile else None, label))
      seen.add((attn, kind))
      done += 1
    except torch.cuda.OutOfMemoryError as error:
      row.update(status="oom", reason=str(error)[:120])
    except Exception as error:
      row.update(status="error", reason=repr(error)[:200])
      broken[attn] = broken.get(attn, 0) + 1
      sink.write(f"--- {name} {attn} {kind} {n} {kv_len}\n{traceback.format_exc()[-1800:]}\n")
      sink.flush()
    writer.writerow(row)
  print(f"  {done} cells, {skipped} cut, {time.time() - started:.1f} s", flush=True)


def main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", default=os.environ.get("OUT", "."))
  parser.add_argument("--models", default=",".join(MODELS))
  parser.add_argument("--seconds", type=float, default=470)
  parser.add_argument("--seconds_per_model", type=float, default=13)
  parser.add_argument("--profile", action="store_true")
  args = parser.parse_args()
  args.started = time.time()
  torch.manual_seed(0)
  torch.randn(64, 64, device="cuda", dtype=torch.bfloat16) @ torch.randn(64, 64, device="cuda", dtype=torch.bfloat16)
  configs = {}
  with open(f"{args.out}/rows.csv", "w", newline="") as rows, open(f"{args.out}/errors.txt", "w") as sink, \
      open(f"{args.out}/blocks.jsonl", "w") as blocks:
    writer = csv.DictWriter(rows, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for name in args.models.split(","):
      if time.time() - args.started > args.seconds:
        print("time is up before", name)
        break
      try:
        with torch.no_grad():
          Measure(name, MODELS[name], args, writer, sink, configs, blocks)
      except Exception:
        sink.write(f"--- {name}\n{traceback.format_exc()[-3000:]}\n")
        print(f"{name}: failed: {traceback.format_exc()[-400:]}", flush=True)
        torch.set_default_dtype(torch.float32)
      rows.flush()
      gc.collect()
      torch.cuda.empty_cache()
      with open(f"{args.out}/configs.json", "w") as f:
        json.dump(configs, f, indent=1)
  return 0


if __name__ == "__main__":
  sys.exit(main())
