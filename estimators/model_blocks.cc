// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <string>

#include "estimators/model_layers.h"
#include "estimators/text.h"

namespace tidegate::internal {
namespace {

std::int64_t ExpertCount(ObjectReader& in, const ModelFamily& family) {
  if (family.type == "gemma4" && !in.BoolOr("enable_moe_block", false)) {
    return 0;
  }
  const std::string_view key =
      in.FirstOf({"num_experts", "num_local_experts", "n_routed_experts",
                  "moe_num_experts"});
  const std::int64_t experts = in.IntOr(key, 0, 0, kMaxWidth);
  // Jamba's dense models state one expert and build no router for it.
  return family.type == "jamba" && experts == 1 ? 0 : experts;
}

BlockKind FromFlag(bool moe) {
  return moe ? BlockKind::kMoe : BlockKind::kDense;
}

std::vector<BlockKind> FromTypes(ObjectReader& in, std::int64_t layers) {
  std::vector<BlockKind> blocks(layers, BlockKind::kDense);
  const std::vector<std::string> types = in.Strings("mlp_layer_types", layers);
  for (std::int64_t i = 0; in.ok() && i < layers; ++i) {
    if (types[i] != "dense" && types[i] != "sparse") {
      in.Fail(Concat("mlp_layer_types[", i, "]"), "\"dense\" or \"sparse\"",
              Quote(types[i]));
    }
    blocks[i] = FromFlag(types[i] == "sparse");
  }
  return blocks;
}

}  // namespace

std::vector<BlockKind> ReadBlockKinds(ObjectReader& in,
                                      const ModelFamily& family,
                                      const std::vector<LayerKind>& kinds) {
  const auto layers = static_cast<std::int64_t>(kinds.size());
  std::vector<BlockKind> blocks(layers, BlockKind::kDense);
  if (ExpertCount(in, family) == 0) return blocks;

  if (in.Has("mlp_layer_types")) return FromTypes(in, layers);
  const JsonValue* freq = in.Find("moe_layer_freq");
  if (freq != nullptr && freq->type == JsonValue::Type::kArray) {
    const std::vector<std::int64_t> flags =
        in.Ints("moe_layer_freq", layers, 0, 1);
    std::transform(flags.begin(), flags.end(), blocks.begin(),
                   [](std::int64_t flag) { return FromFlag(flag != 0); });
    return blocks;
  }
  if (family.type == "llama4") {
    const std::int64_t step =
        in.IntOr("interleave_moe_layer_step", 1, 1, kMaxLayers);
    const bool listed = in.Has("moe_layers");
    const std::vector<std::int64_t> list =
        in.IntsOrEmpty("moe_layers", 0, kMaxLayers);
    for (std::int64_t i = 0; i < layers; ++i) {
      blocks[i] =
          FromFlag(listed ? std::find(list.begin(), list.end(), i) != list.end()
                          : (i + 1) % step == 0);
    }
    return blocks;
  }
  if (family.type == "jamba") {
    const std::int64_t period = in.Int("expert_layer_period", 1, kMaxLayers);
    const std::int64_t offset = in.Int("expert_layer_offset", 0, kMaxLayers);
    for (std::int64_t i = 0; i < layers; ++i) {
      blocks[i] = FromFlag(i % period == offset);
    }
    return blocks;
  }
  // DeepSeek's and Qwen's keys; where neither is stated every layer has
  // experts.
  const std::int64_t first =
      in.IntOr("first_k_dense_replace", 0, 0, kMaxLayers);
  const std::int64_t every = in.IntOr("moe_layer_freq", 1, 1, kMaxLayers);
  const std::int64_t step = in.IntOr("decoder_sparse_step", 1, 1, kMaxLayers);
  const std::vector<std::int64_t> dense =
      in.IntsOrEmpty("mlp_only_layers", 0, kMaxLayers);
  for (std::int64_t i = 0; i < layers; ++i) {
    blocks[i] =
        FromFlag(i >= first && i % every == 0 && (i + 1) % step == 0 &&
                 std::find(dense.begin(), dense.end(), i) == dense.end());
  }
  return blocks;
}

FeedForward ReadDense(ObjectReader& in, const ModelFamily& family,
                      std::int64_t layer, std::int64_t layers,
                      std::int64_t hidden) {
  FeedForward f;
  f.gated = family.gated_mlp;
  f.bias = in.BoolOr("mlp_bias", family.mlp_bias);
  if (family.type == "falcon") {
    // Falcon's published configs leave the width out: it is 4 * hidden.
    f.intermediate =
        in.IntOr("ffn_hidden_size", SatMul(4, hidden), 1, kMaxWidth);
    return f;
  }
  std::string_view key = "intermediate_size";
  if (family.type == "llama4") key = "intermediate_size_mlp";
  if (family.type == "granitemoehybrid") key = "shared_intermediate_size";
  const JsonValue* value = in.Find(key);
  if (value != nullptr && value->type == JsonValue::Type::kArray) {
    f.intermediate = in.IntAt(key, layer, layers, 1, kMaxWidth);  // Gemma 3n
  } else {
    f.intermediate = in.Int(key, 1, kMaxWidth);
  }
  if (family.type == "gemma4" && in.BoolOr("use_double_wide_mlp", false)) {
    const std::int64_t shared =
        in.IntOr("num_kv_shared_layers", 0, 0, layers - 1);
    if (shared > 0 && layer >= layers - shared) f.intermediate *= 2;
  }
  return f;
}

FeedForward ReadMoe(ObjectReader& in, const ModelFamily& family) {
  FeedForward f;
  f.kind = FeedForwardKind::kMoe;
  f.gated = family.gated_mlp;
  f.bias = in.BoolOr("mlp_bias", family.mlp_bias);
  f.experts = ExpertCount(in, family);
  f.top_k = in.Int(
      in.FirstOf({"num_experts_per_tok", "top_k_experts",
                  "num_experts_per_token", "experts_per_token", "moe_k"}),
      1, std::max<std::int64_t>(f.experts, 1));
  f.intermediate = in.Int(
      in.FirstOf({"moe_intermediate_size", "intermediate_size"}), 1, kMaxWidth);

  if (family.type == "llama4") {
    f.shared_intermediate = f.intermediate;
    return f;
  }
  if (family.type == "gemma4") {
    f.parallel_intermediate = in.Int("intermediate_size", 1, kMaxWidth);
    return f;
  }
  const std::int64_t shared = in.IntOr(
      in.FirstOf({"n_shared_experts", "num_shared_experts"}), 0, 0, kMaxWidth);
  if (in.Has("moe_shared_expert_intermediate_size")) {
    f.shared_intermediate = SatMul(
        shared, in.Int("moe_shared_expert_intermediate_size", 0, kMaxWidth));
  } else if (shared > 0) {
    f.shared_intermediate = SatMul(shared, f.intermediate);
  } else {
    f.shared_intermediate =
        in.IntOr(in.FirstOf({"shared_expert_intermediate_size",
                             "shared_intermediate_size"}),
                 0, 0, kMaxWidth);
  }
  return f;
}

}  // namespace tidegate::internal
