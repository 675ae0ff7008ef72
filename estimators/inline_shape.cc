// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <array>
#include <string>
#include <string_view>

#include "estimators/json_reader.h"
#include "estimators/model_layers.h"
#include "estimators/text.h"
#include "tidegate/model_config.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::JsonValue;
using internal::kMaxLayers;
using internal::kMaxWidth;
using internal::ObjectReader;

constexpr auto kKeys = std::to_array<std::string_view>(
    {"q_heads", "kv_heads", "head_dim", "layers", "kv_layers", "hidden",
     "intermediate", "vocab", "compute_dtype", "kv_dtype"});

void RefuseUnknownKeys(ObjectReader& in) {
  for (const std::string& key : in.object().keys) {
    bool known = false;
    for (std::string_view k : kKeys) known = known || k == key;
    if (known) continue;
    const std::string_view near = internal::DidYouMean(key, kKeys);
    in.Fail(key, "a key of a shape",
            near.empty() ? "an unknown one"
                         : Concat("an unknown one; did you mean ", near, "?"));
  }
}

ComputeType ReadCompute(ObjectReader& in) {
  if (!in.Has("compute_dtype")) return ComputeType::kBf16;
  const std::string name = in.StringOrEmpty("compute_dtype");
  const absl::StatusOr<ComputeType> type = ParseComputeType(name);
  if (type.ok()) return *type;
  in.FailAt("compute_dtype", "fp32, fp16 or bf16");
  return ComputeType::kBf16;
}

ElementSize ReadKvElement(ObjectReader& in, ComputeType compute) {
  const JsonValue* value = in.Find("kv_dtype");
  if (value == nullptr) return ElementSize::OfBytes(SizeOf(compute));
  const bool scalar = value->type == JsonValue::Type::kString ||
                      value->type == JsonValue::Type::kInt ||
                      value->type == JsonValue::Type::kNumber;
  const absl::StatusOr<ElementSize> size =
      ParseElementSize(scalar ? value->text : "");
  if (size.ok()) return *size;
  in.FailAt("kv_dtype",
            "fp32, fp16, bf16, fp8, int8, int4, q8_0 or a number of bytes "
            "from 0.125 to 8");
  return ElementSize{};
}

}  // namespace

absl::StatusOr<ModelConfig> ParseInlineShape(std::string_view json,
                                             std::string_view file) {
  TG_ASSIGN_OR_RETURN(const JsonValue root,
                      internal::ParseJsonObject(json, file));
  ObjectReader in(root, file, "");
  RefuseUnknownKeys(in);

  ModelConfig config;
  ModelShape& shape = config.shape;
  shape.name = "shape";
  shape.hidden = in.IntOr("hidden", 0, 0, kMaxWidth);
  shape.vocab = in.IntOr("vocab", 0, 0, kMaxWidth);
  shape.compute = ReadCompute(in);
  shape.kv_element = ReadKvElement(in, shape.compute);

  Mixer full;
  full.q_heads = in.Int("q_heads", 1, kMaxWidth);
  full.kv_heads = in.Int("kv_heads", 1, full.q_heads);
  full.head_dim = in.Int("head_dim", 1, kMaxWidth);
  full.head_dim_v = full.head_dim;
  if (full.q_heads % full.kv_heads != 0) {
    in.FailAt("kv_heads",
              Concat("a divisor of the ", full.q_heads, " q_heads"));
  }
  shape.mixers.push_back(full);

  FeedForward block;
  block.intermediate = in.IntOr("intermediate", 0, 0, kMaxWidth);
  if (block.intermediate == 0) block.kind = FeedForwardKind::kNone;
  shape.feed_forwards.push_back(block);

  const std::int64_t layers = in.Int("layers", 1, kMaxLayers);
  const std::int64_t kv_layers = in.IntOr("kv_layers", layers, 0, layers);
  if (!in.ok()) return in.status();
  if (kv_layers < layers) {
    Mixer none;
    none.kind = MixerKind::kNone;
    shape.mixers.push_back(none);
  }
  // Spread evenly, as hybrids are, so that a cut by layers keeps the share.
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool keeps = (i + 1) * kv_layers / layers > i * kv_layers / layers;
    shape.layers.push_back({.mixer = keeps ? 0 : 1, .feed_forward = 0});
  }
  TG_RETURN_IF_ERROR(shape.Validate());
  return config;
}

}  // namespace tidegate
