#!/usr/bin/env python3
"""Measures what MLX allocates on its CPU backend: attention calls, and prefill chunks through whole models.

Runs on any Linux machine: no GPU, no network, no weights.

  python3 -m venv venv && venv/bin/pip install "mlx[cpu]" mlx-lm
  venv/bin/python scripts/measure_mlx_cpu.py --out DIR [--only attention|models]

DIR/mlx_cpu_attention.csv: one row per call of mx.fast.scaled_dot_product_attention. `transient_bytes` is
mx.get_peak_memory() during the call minus mx.get_active_memory() before it, the buffer cache emptied first: output
included, inputs and a mask given as an array not.

DIR/mlx_cpu_models.csv: one row per chunk through a small model of mlx-lm with random weights. The cache holds
L - n tokens; then one chunk of n tokens runs as mlx_lm.generate does it: the model is called and the state of its cache is
evaluated, not its logits. `transient_bytes` is the peak minus the bytes live before, minus the growth that stays
(`resident_bytes`). The configurations lie beside it, one JSON file per model.

MLX queues operations on a thread and frees a buffer when the last operation that reads it has run, so a peak may differ
from run to run: each chunk is run --repeat times and the largest peak is written.
"""

import argparse
import csv
import importlib
import importlib.metadata
import json
import os

import mlx.core as mx

# (q_heads, kv_heads, head_dim, head_dim_v): widths without a fused kernel, one kv head, pairs that differ.
HEADS = [(4, 4, 72, 72), (6, 1, 96, 96), (5, 5, 112, 112), (6, 2, 160, 160), (7, 1, 192, 128), (2, 1, 576, 512), (3, 3, 20, 36), (8, 2, 128, 128)]
LENGTHS = [(1, 1), (1, 4093), (2, 3), (9, 777), (64, 64), (100, 1001), (333, 2111), (512, 4096), (640, 640)]

DENSE = {"num_hidden_layers": 2, "hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 1000,
         "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "rope_theta": 10000.0, "max_position_embeddings": 65536}
MOE = {"num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 384, "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True}
# Two layers at least: MLX is lazy, and nothing that follows the last layer's keys and values is computed.
MODELS = {
    "llama": {**DENSE, "model_type": "llama"},
    "llama_wide": {**DENSE, "model_type": "llama", "hidden_size": 768, "intermediate_size": 8192, "num_attention_heads": 6, "num_key_value_heads": 1},
    "qwen3": {**DENSE, "model_type": "qwen3", "head_dim": 128, "intermediate_size": 1024, "num_key_value_heads": 4},
    "qwen3_moe": {**DENSE, **MOE, "model_type": "qwen3_moe", "head_dim": 64},
    "qwen3_moe_many": {**DENSE, **MOE, "model_type": "qwen3_moe", "head_dim": 32, "num_experts": 64, "num_experts_per_tok": 8, "num_attention_heads": 4,
                       "moe_intermediate_size": 256},
    "mixtral": {**DENSE, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 1024},
    "gemma3_text": {**DENSE, "model_type": "gemma3_text", "head_dim": 128, "num_hidden_layers": 3, "sliding_window": 512, "sliding_window_pattern": 2,
                    "num_attention_heads": 4, "num_key_value_heads": 1},
    "gpt_oss": {**DENSE, "model_type": "gpt_oss", "head_dim": 64, "num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 512,
                "sliding_window": 128, "num_hidden_layers": 3,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "deepseek_v3": {**DENSE, "model_type": "deepseek_v3", "num_hidden_layers": 3, "num_key_value_heads": 8, "kv_lora_rank": 128, "q_lora_rank": 192, "qk_rope_head_dim": 32,
                    "qk_nope_head_dim": 64, "v_head_dim": 64, "n_routed_experts": 16, "n_shared_experts": 1, "num_experts_per_tok": 4,
                    "moe_intermediate_size": 384, "first_k_dense_replace": 1, "moe_layer_freq": 1, "n_group": 1, "topk_group": 1,
                    "routed_scaling_factor": 1.0, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": True},
    "granitemoehybrid": {**DENSE, "model_type": "granitemoehybrid", "num_hidden_layers": 3, "layer_types": ["mamba", "attention", "mamba"], "mamba_n_heads": 16, "mamba_d_head": 64,
                         "mamba_d_state": 64, "mamba_n_groups": 1, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_proj_bias": False, "mamba_conv_bias": True,
                         "num_local_experts": 8, "num_experts_per_tok": 2, "shared_intermediate_size": 512, "intermediate_size": 256,
                         "embedding_multiplier": 1.0, "attention_multiplier": 0.125, "logits_scaling": 1.0, "residual_multiplier": 1.0,
                         "attention_bias": False, "mlp_bias": False, "position_embedding_type": "nope"},
}
# (n, L) and the compute types. Products in 16 bits take long on a CPU.
CHUNKS = [(256, 2304, ("fp32", "bf16")), (600, 3001, ("fp32",)), (800, 800, ("fp32",)), (512, 4096, ("fp32",))]


def Peak(before, run):
  mx.clear_cache()
  mx.synchronize()
  live = mx.get_active_memory()
  mx.reset_peak_memory()
  result = run(before)
  mx.synchronize()
  return mx.get_peak_memory() - live, mx.get_active_memory() - live, result


def MeasureAttention(out):
  rows = []
  dtypes = {"bf16": mx.bfloat16, "fp16": mx.float16, "fp32": mx.float32}
  for index, (heads, kv_heads, dim, dim_v) in enumerate(HEADS):
    for lengths, (n, length) in enumerate(LENGTHS):
      # Every type with every width and every length, not their whole product.
      name = list(dtypes)[(index + lengths) % 3]
      dtype = dtypes[name]
      for mask, with_sinks in (("none", 0), ("causal", 0), ("bool", 0), ("float", 0), ("none", 1), ("causal", 1)):
        q = mx.random.normal((1, heads, n, dim)).astype(dtype)
        k = mx.random.normal((1, kv_heads, length, dim)).astype(dtype)
        v = mx.random.normal((1, kv_heads, length, dim_v)).astype(dtype)
        given = {"none": None, "causal": "causal"}.get(mask)
        if mask == "bool":
          given = mx.random.uniform(shape=(n, length)) > 0.1
        elif mask == "float":
          given = mx.random.normal((n, length)).astype(dtype)
        sinks = mx.random.normal((heads,)).astype(dtype) if with_sinks else None
        mx.eval(q, k, v, *[array for array in (given, sinks) if isinstance(array, mx.array)])

        def Run(_):
          y = mx.fast.scaled_dot_product_attention(q, k, v, scale=dim**-0.5, mask=given, sinks=sinks)
          mx.eval(y)
          return y

        peak, _, y = Peak(None, Run)
        rows.append([name, heads, kv_heads, dim, dim_v, n, length, mask, with_sinks, peak])
        del q, k, v, y, given, sinks
  with open(os.path.join(out, "mlx_cpu_attention.csv"), "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow("dtype,q_heads,kv_heads,head_dim,head_dim_v,n,L,mask,sinks,transient_bytes".split(","))
    writer.writerows(rows)


def MakeModel(config, dtype):
  module = importlib.import_module("mlx_lm.models." + config["model_type"])
  model = module.Model(module.ModelArgs.from_dict(config))
  model.set_dtype(dtype)
  mx.eval(model.parameters())
  return model


def State(cache):
  return [entry.state for entry in cache]


def RunChunk(model, n, length):
  from mlx_lm.models.cache import make_prompt_cache
  cache = make_prompt_cache(model)
  done = length - n
  if done > 0:
    # One token makes every cache; the rest of the prefix is zeros, which cost no attention.
    model(mx.zeros((1, 1), dtype=mx.int32), cache=cache)
    for entry in cache:
      for part in getattr(entry, "caches", [entry]):
        if getattr(part, "keys", None) is None:
          continue
        left = done - 1
        while left > 0:  # in chunks, so that a sliding cache holds what chunks leave
          step = min(n, left)
          part.update_and_fetch(*[mx.zeros((*x.shape[:2], step, x.shape[3]), dtype=x.dtype) for x in (part.keys, part.values)])
          left -= step
    mx.eval(State(cache))
  tokens = mx.zeros((1, n), dtype=mx.int32)
  mx.eval(tokens)

  def Run(_):
    model(tokens, cache=cache)
    mx.eval(State(cache))

  return Peak(None, Run)[:2]


def MeasureModels(out, only, repeat):
  rows = []
  for name, config in MODELS.items():
    if only and name not in only:
      continue
    with open(os.path.join(out, name + ".json"), "w") as file:
      json.dump(config, file, indent=1)
      file.write("\n")
    for dtype_name, dtype in (("fp32", mx.float32), ("bf16", mx.bfloat16)):
      model = MakeModel(config, dtype)
      for n, length, types in CHUNKS:
        if dtype_name not in types:
          continue
        try:
          runs = [RunChunk(model, n, length) for _ in range(repeat)]
        except RuntimeError as error:  # products by expert exist in fp32 only
          print(name, dtype_name, n, length, error, flush=True)
          continue
        peak = max(peak for peak, _ in runs)
        kept = runs[0][1]
        rows.append([name, dtype_name, n, length, peak - kept, kept])
        print(name, dtype_name, n, length, [(p - k) / 2**20 for p, k in runs], kept / 2**20, flush=True)
      del model
  with open(os.path.join(out, "mlx_cpu_models.csv"), "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow("model,dtype,n,L,transient_bytes,resident_bytes".split(","))
    writer.writerows(rows)


def Main():
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--out", required=True)
  parser.add_argument("--only", choices=["attention", "models"])
  parser.add_argument("--models", type=lambda text: text.split(","), default=[])
  parser.add_argument("--repeat", type=int, default=3)
  options = parser.parse_args()
  os.makedirs(options.out, exist_ok=True)
  mx.set_default_device(mx.cpu)
  mx.random.seed(1)
  print("mlx", importlib.metadata.version("mlx"))
  if options.only != "models":
    MeasureAttention(options.out)
  if options.only != "attention":
    MeasureModels(options.out, options.models, options.repeat)


if __name__ == "__main__":
  Main()
