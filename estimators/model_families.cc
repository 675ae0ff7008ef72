// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// One row a model_type. Defaults are those of the configuration classes of
// transformers 5, which is where published configs are read first.

#include "estimators/model_families.h"

#include <array>

namespace tidegate::internal {
namespace {

using P = LayerPattern;
using L = LinearFamily;

constexpr auto kFamilies = std::to_array<ModelFamily>({
    // Dense and mixture-of-experts models whose layers are all alike.
    {.type = "llama", .mha_default = true},
    {.type = "internlm2", .mha_default = true},
    {.type = "internlm3", .mha_default = true},
    {.type = "smollm3"},
    {.type = "granite", .mha_default = true},
    {.type = "granitemoe", .mha_default = true},
    {.type = "gemma"},
    {.type = "glm"},
    {.type = "glm4"},
    {.type = "glm4v"},
    {.type = "glm4_moe"},
    {.type = "olmo", .mha_default = true},
    {.type = "olmo2", .mha_default = true, .qk_norm = true},
    {.type = "olmoe", .mha_default = true, .qk_norm = true},
    {.type = "cohere", .mha_default = true},
    {.type = "stablelm", .mha_default = true},
    {.type = "gpt_neox",
     .mha_default = true,
     .bias = true,
     .gated_mlp = false,
     .mlp_bias = true},
    {.type = "phi",
     .mha_default = true,
     .bias = true,
     .gated_mlp = false,
     .mlp_bias = true},
    {.type = "falcon", .gated_mlp = false},
    {.type = "minimax_m2", .qk_norm = true},
    {.type = "mimo", .bias = true},

    // A window, when stated, is on every layer.
    {.type = "mistral", .pattern = P::kWindow},
    {.type = "ministral", .pattern = P::kWindow},
    {.type = "ministral3", .pattern = P::kWindow},
    {.type = "mixtral", .pattern = P::kWindow},
    {.type = "phi3", .pattern = P::kWindow, .mha_default = true},
    {.type = "phi4mm", .pattern = P::kWindow, .mha_default = true},
    {.type = "phimoe", .pattern = P::kWindow, .bias = true},
    {.type = "starcoder2",
     .pattern = P::kWindow,
     .bias = true,
     .gated_mlp = false,
     .mlp_bias = true},

    // A window is stated but used only when use_sliding_window says so.
    {.type = "qwen2", .pattern = P::kUpperWindow, .bias = true},
    {.type = "qwen2_moe", .pattern = P::kUpperWindow, .bias = true},
    {.type = "qwen2_vl", .pattern = P::kUpperWindow, .bias = true},
    {.type = "qwen2_5_vl", .pattern = P::kUpperWindow, .bias = true},
    {.type = "qwen3", .pattern = P::kUpperWindow, .qk_norm = true},
    {.type = "qwen3_moe", .pattern = P::kUpperWindow, .qk_norm = true},
    {.type = "qwen3_vl", .pattern = P::kUpperWindow, .qk_norm = true},
    {.type = "qwen3_vl_moe", .pattern = P::kUpperWindow, .qk_norm = true},

    // Sliding and full layers in turn.
    {.type = "gemma2", .pattern = P::kPeriodicWindow, .period = 2},
    {.type = "gemma3",
     .pattern = P::kPeriodicWindow,
     .period = 6,
     .qk_norm = true},
    {.type = "gemma3n",
     .pattern = P::kPeriodicWindow,
     .period = 5,
     .qk_norm = true},
    {.type = "gemma4",
     .pattern = P::kPeriodicWindow,
     .period = 6,
     .qk_norm = true},
    {.type = "cohere2",
     .pattern = P::kPeriodicWindow,
     .period = 4,
     .mha_default = true},
    {.type = "olmo3",
     .pattern = P::kPeriodicWindow,
     .period = 4,
     .mha_default = true,
     .qk_norm = true},
    {.type = "gpt_oss",
     .pattern = P::kPeriodicWindow,
     .period = 2,
     .bias = true,
     .sinks = true,
     .mlp_bias = true},
    {.type = "mimo_v2_flash", .pattern = P::kSwaPattern, .sinks = true},
    {.type = "llama4", .pattern = P::kChunked, .period = 4, .qk_norm = true},

    // Latent attention; the mixer itself is recognised by kv_lora_rank.
    {.type = "deepseek_v2"},
    {.type = "deepseek_v3"},
    {.type = "deepseek_v32"},
    {.type = "kimi_k2"},
    {.type = "glm_moe_dsa"},
    {.type = "glm4_moe_lite"},
    {.type = "minicpm3"},

    // Only some layers keep KV.
    {.type = "qwen3_next",
     .pattern = P::kPeriodicLinear,
     .period = 4,
     .linear = L::kDeltaNet,
     .qk_norm = true,
     .output_gate = true},
    {.type = "qwen3_5",
     .pattern = P::kPeriodicLinear,
     .period = 4,
     .linear = L::kDeltaNet,
     .qk_norm = true,
     .output_gate = true},
    {.type = "qwen3_5_moe",
     .pattern = P::kPeriodicLinear,
     .period = 4,
     .linear = L::kDeltaNet,
     .qk_norm = true,
     .output_gate = true},
    {.type = "minimax",
     .pattern = P::kLightning,
     .period = 2,
     .linear = L::kLightning,
     .mha_default = true},
    {.type = "minimax_text_01",
     .pattern = P::kLightning,
     .linear = L::kLightning},
    {.type = "minimax_m1", .pattern = P::kLightning, .linear = L::kLightning},
    {.type = "jamba", .pattern = P::kAttentionPeriod, .linear = L::kMamba1},
    {.type = "bamba", .pattern = P::kAttentionIndices, .linear = L::kMamba2},
    {.type = "granitemoehybrid",
     .pattern = P::kStated,
     .linear = L::kMamba2,
     .mha_default = true},
    {.type = "nemotron_h",
     .pattern = P::kCharacters,
     .linear = L::kMamba2,
     .gated_mlp = false},
    {.type = "falcon_h1", .pattern = P::kParallel, .linear = L::kMamba2},
    {.type = "kimi_linear", .pattern = P::kKimiLinear, .linear = L::kKda},
});

}  // namespace

const ModelFamily* FindFamily(std::string_view model_type) {
  if (model_type.ends_with("_text")) {
    model_type.remove_suffix(std::string_view("_text").size());
  }
  for (const ModelFamily& family : kFamilies) {
    if (family.type == model_type) return &family;
  }
  return nullptr;
}

}  // namespace tidegate::internal
