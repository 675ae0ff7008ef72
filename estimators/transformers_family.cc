// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/transformers_family.h"

#include <array>

namespace tidegate::internal {
namespace {

using R = RopeStyle;
using F = TransformersFamily;

// Sources: src/transformers/models/TYPE/modeling_TYPE.py, v5.17.0.
constexpr auto kFamilies = std::to_array<TransformersFamily>({
    {.type = "llama"},
    {.type = "mistral"},
    {.type = "ministral"},
    {.type = "ministral3"},
    {.type = "mixtral"},
    {.type = "qwen2"},
    {.type = "qwen3"},
    {.type = "qwen3_moe"},
    {.type = "smollm3"},
    {.type = "seed_oss"},
    {.type = "granite"},
    {.type = "granitemoe"},
    {.type = "gemma"},
    {.type = "gemma2"},
    {.type = "gemma3", .two_ropes = true},
    {.type = "olmoe"},
    {.type = "phimoe"},
    {.type = "gpt_oss"},
    {.type = "jamba"},
    {.type = "bamba"},
    // The normed input is not a tensor of its own: norms follow the blocks.
    {.type = "exaone4", .attention_inputs = 2, .feed_forward_inputs = 3},
    {.type = "olmo2",
     .attention_inputs = 2,
     .feed_forward_inputs = 3,
     .rope = R::kFp32},
    {.type = "olmo3",
     .attention_inputs = 2,
     .feed_forward_inputs = 3,
     .rope = R::kFp32,
     .two_ropes = true},
    {.type = "olmo", .rope = R::kFp32},
    {.type = "cohere", .rope = R::kUpcast},
    {.type = "cohere2", .rope = R::kUpcast},
    {.type = "ernie4_5", .rope = R::kUpcastBoth},
    {.type = "ernie4_5_moe", .rope = R::kUpcastBoth, .shared_first = true},
    {.type = "starcoder2", .feed_forward_copies = 2},
    {.type = "phi3",
     .q_by_cat = true,
     .fused_qkv = true,
     .feed_forward_copies = 4},
    {.type = "glm", .q_by_cat = true, .feed_forward_copies = 4},
    {.type = "glm4", .q_by_cat = true, .feed_forward_copies = 4},
    {.type = "glm4_moe", .q_by_cat = true, .fp32_routing = true},
    {.type = "minimax_m2", .q_by_cat = true, .fp32_routing = true},
    {.type = "dots1", .fp32_routing = true},
    {.type = "qwen2_moe", .shared_first = true, .unused_sliding_mask = true},
    {.type = "deepseek_v2", .q_by_cat = true, .fp32_routing = true},
    {.type = "deepseek_v3", .q_by_cat = true, .fp32_routing = true},
    {.type = "glm4_moe_lite", .q_by_cat = true, .fp32_routing = true},
    {.type = "qwen3_next",
     .q_by_cat = true,
     .shared_first = true,
     .linear_projection_alive = true},
    {.type = "qwen3_5", .q_by_cat = true},
    {.type = "qwen3_5_moe", .q_by_cat = true, .shared_first = true},
    {.type = "kimi_linear",
     .q_by_cat = true,
     .fp32_routing = true,
     .channel_decay = true},
    {.type = "granitemoehybrid", .feed_forward_copies = 4},
    // A layer is one block, so no residual waits between two.
    {.type = "nemotron_h",
     .feed_forward_inputs = 3,
     .fp32_routing = true,
     .scan_chunk = 128},
    // A partial rotation slices q and k, which keeps both whole.
    {.type = "stablelm",
     .feed_forward_inputs = 6,
     .q_by_cat = true,
     .fused_qkv = true},
    // Attention and Mamba run on one input; the first one's output waits.
    {.type = "falcon_h1", .attention_inputs = 4, .feed_forward_inputs = 6},
    {.type = "gemma4", .fp32_routing = true, .two_ropes = true},
});

}  // namespace

TransformersFamily FindTransformersFamily(std::string_view model_type,
                                          bool* known) {
  constexpr std::string_view kText = "_text";
  if (model_type.ends_with(kText)) model_type.remove_suffix(kText.size());
  for (const TransformersFamily& family : kFamilies) {
    if (family.type == model_type) {
      *known = true;
      return family;
    }
  }
  *known = false;
  return F{.type = "",
           .rope = R::kUpcast,
           .q_by_cat = true,
           .feed_forward_copies = 4,
           .fp32_routing = true,
           .shared_first = true,
           .two_ropes = true,
           .linear_projection_alive = true};
}

}  // namespace tidegate::internal
