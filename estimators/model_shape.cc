// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/model_shape.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::InvalidArgument;

absl::Status RequirePositive(std::string_view field, std::int64_t value) {
  if (value > 0) return absl::OkStatus();
  return InvalidArgument(field, ": expected a positive number, got ", value);
}

absl::Status RequireNotNegative(std::string_view field, std::int64_t value) {
  if (value >= 0) return absl::OkStatus();
  return InvalidArgument(field, ": expected no negative number, got ", value);
}

absl::Status ValidateHeads(const std::string& at, const Mixer& m) {
  TG_RETURN_IF_ERROR(RequirePositive(at + ".q_heads", m.q_heads));
  TG_RETURN_IF_ERROR(RequirePositive(at + ".kv_heads", m.kv_heads));
  TG_RETURN_IF_ERROR(RequirePositive(at + ".head_dim", m.head_dim));
  TG_RETURN_IF_ERROR(RequirePositive(at + ".head_dim_v", m.head_dim_v));
  if (m.q_heads % m.kv_heads != 0) {
    return InvalidArgument(at, ".q_heads: expected a multiple of kv_heads (",
                           m.kv_heads, "), got ", m.q_heads);
  }
  return absl::OkStatus();
}

absl::Status ValidateMixer(const std::string& at, const Mixer& m) {
  TG_RETURN_IF_ERROR(
      RequireNotNegative(at + ".index_head_dim", m.index_head_dim));
  TG_RETURN_IF_ERROR(RequireNotNegative(at + ".index_heads", m.index_heads));
  TG_RETURN_IF_ERROR(RequireNotNegative(at + ".index_topk", m.index_topk));
  switch (m.kind) {
    case MixerKind::kNone:
      return absl::OkStatus();
    case MixerKind::kFull:
      return ValidateHeads(at, m);
    case MixerKind::kSliding:
      TG_RETURN_IF_ERROR(RequirePositive(at + ".window", m.window));
      return ValidateHeads(at, m);
    case MixerKind::kLatent:
      TG_RETURN_IF_ERROR(RequirePositive(at + ".kv_lora_rank", m.kv_lora_rank));
      TG_RETURN_IF_ERROR(
          RequireNotNegative(at + ".q_lora_rank", m.q_lora_rank));
      TG_RETURN_IF_ERROR(RequireNotNegative(at + ".rope_dim", m.rope_dim));
      return ValidateHeads(at, m);
    case MixerKind::kLinear:
      TG_RETURN_IF_ERROR(RequirePositive(at + ".linear_inner", m.linear_inner));
      TG_RETURN_IF_ERROR(
          RequireNotNegative(at + ".linear_key_heads", m.linear_key_heads));
      TG_RETURN_IF_ERROR(
          RequireNotNegative(at + ".linear_value_heads", m.linear_value_heads));
      TG_RETURN_IF_ERROR(
          RequireNotNegative(at + ".linear_key_dim", m.linear_key_dim));
      TG_RETURN_IF_ERROR(
          RequireNotNegative(at + ".linear_value_dim", m.linear_value_dim));
      TG_RETURN_IF_ERROR(RequireNotNegative(at + ".conv_dim", m.conv_dim));
      TG_RETURN_IF_ERROR(
          RequireNotNegative(at + ".conv_kernel", m.conv_kernel));
      return RequirePositive(at + ".state_element_bytes",
                             m.state_element_bytes);
  }
  return InvalidArgument(at, ".kind: expected a mixer kind, got ",
                         static_cast<int>(m.kind));
}

absl::Status ValidateFeedForward(const std::string& at, const FeedForward& f) {
  TG_RETURN_IF_ERROR(
      RequireNotNegative(at + ".shared_intermediate", f.shared_intermediate));
  TG_RETURN_IF_ERROR(RequireNotNegative(at + ".parallel_intermediate",
                                        f.parallel_intermediate));
  if (f.kind == FeedForwardKind::kNone) return absl::OkStatus();
  TG_RETURN_IF_ERROR(RequirePositive(at + ".intermediate", f.intermediate));
  if (f.kind == FeedForwardKind::kDense) return absl::OkStatus();
  TG_RETURN_IF_ERROR(RequirePositive(at + ".experts", f.experts));
  TG_RETURN_IF_ERROR(RequirePositive(at + ".top_k", f.top_k));
  if (f.top_k > f.experts) {
    return InvalidArgument(at, ".top_k: expected at most experts (", f.experts,
                           "), got ", f.top_k);
  }
  return absl::OkStatus();
}

// Elements of stored KV that one token adds to a layer while the layer grows.
std::int64_t ElementsPerToken(const Mixer& m) {
  if (!m.stores_kv) return 0;
  const std::int64_t index = m.stores_index ? m.index_head_dim : 0;
  switch (m.kind) {
    case MixerKind::kFull:
    case MixerKind::kSliding:
      return SatAdd(SatMul(m.kv_heads, SatAdd(m.head_dim, m.head_dim_v)),
                    index);
    case MixerKind::kLatent:
      return SatAdd(m.kv_lora_rank, m.rope_dim, index);
    case MixerKind::kLinear:
    case MixerKind::kNone:
      return 0;
  }
  return 0;
}

// Constant bytes of a linear layer. The convolution keeps conv_kernel columns,
// not conv_kernel - 1: transformers 5.17 holds the whole kernel's width
// (2,162,688 bytes for a layer of Qwen3-Next-80B-A3B in bf16 are
// 8192*4*2 + 32*128*128*4), and it is the larger of the two.
Bytes StateBytes(const Mixer& m, ComputeType compute) {
  if (m.kind != MixerKind::kLinear) return 0;
  const std::int64_t state =
      m.linear == LinearKind::kMamba1
          ? SatMul(m.linear_inner, m.linear_key_dim)
          : SatMul(m.linear_value_heads, m.linear_key_dim, m.linear_value_dim);
  return SatAdd(SatMul(m.conv_dim, m.conv_kernel, SizeOf(compute)),
                SatMul(state, m.state_element_bytes));
}

template <typename Visit>
void ForEachMixer(const ModelShape& shape, Visit visit) {
  for (const Layer& layer : shape.layers) {
    visit(shape.mixers[layer.mixer]);
    if (layer.extra_mixer >= 0) visit(shape.mixers[layer.extra_mixer]);
  }
}

bool InRange(int index, std::size_t size) {
  return index >= 0 && static_cast<std::size_t>(index) < size;
}

}  // namespace

absl::Status ModelShape::Validate() const {
  TG_RETURN_IF_ERROR(RequireNotNegative("hidden", hidden));
  TG_RETURN_IF_ERROR(RequireNotNegative("vocab", vocab));
  TG_RETURN_IF_ERROR(RequirePositive("kv_element", kv_element.per_65536));
  if (weight_bytes.has_value()) {
    TG_RETURN_IF_ERROR(RequireNotNegative("weight_bytes", *weight_bytes));
  }
  if (max_position.has_value()) {
    TG_RETURN_IF_ERROR(RequirePositive("max_position", *max_position));
  }
  for (std::size_t i = 0; i < mixers.size(); ++i) {
    TG_RETURN_IF_ERROR(ValidateMixer(Concat("mixers[", i, "]"), mixers[i]));
  }
  for (std::size_t i = 0; i < feed_forwards.size(); ++i) {
    TG_RETURN_IF_ERROR(ValidateFeedForward(Concat("feed_forwards[", i, "]"),
                                           feed_forwards[i]));
  }
  if (layers.empty()) {
    return InvalidArgument("layers: expected at least one layer, got none");
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer& layer = layers[i];
    if (!InRange(layer.mixer, mixers.size())) {
      return InvalidArgument("layers[", i,
                             "].mixer: expected an index into mixers, got ",
                             layer.mixer);
    }
    if (layer.extra_mixer != -1 && !InRange(layer.extra_mixer, mixers.size())) {
      return InvalidArgument(
          "layers[", i, "].extra_mixer: expected -1 or an index into mixers, ",
          "got ", layer.extra_mixer);
    }
    if (!InRange(layer.feed_forward, feed_forwards.size())) {
      return InvalidArgument(
          "layers[", i,
          "].feed_forward: expected an index into feed_forwards, ", "got ",
          layer.feed_forward);
    }
  }
  return absl::OkStatus();
}

std::int64_t ModelShape::MixerCount(int i) const {
  return std::count_if(layers.begin(), layers.end(), [i](const Layer& layer) {
    return layer.mixer == i || layer.extra_mixer == i;
  });
}

std::int64_t ModelShape::FeedForwardCount(int i) const {
  return std::count_if(layers.begin(), layers.end(), [i](const Layer& layer) {
    return layer.feed_forward == i;
  });
}

Bytes ModelShape::KvBytesPerToken() const {
  // Elements are summed before they become bytes, so that a width that is no
  // whole number of bytes is rounded once.
  std::int64_t elements = 0;
  ForEachMixer(*this, [&](const Mixer& m) {
    if (m.kind == MixerKind::kSliding) return;
    elements = SatAdd(elements, ElementsPerToken(m));
  });
  return kv_element.Of(elements);
}

Bytes ModelShape::SequenceBytes(Tokens tokens, Tokens chunk) const {
  if (tokens <= 0) return 0;
  chunk = std::clamp<Tokens>(chunk, 1, tokens);
  std::int64_t elements = 0;
  Bytes states = 0;
  ForEachMixer(*this, [&](const Mixer& m) {
    Tokens kept = tokens;
    if (m.kind == MixerKind::kSliding) {
      kept = std::min(tokens, SatAdd(m.window - 1, chunk));
    }
    elements = SatAdd(elements, SatMul(ElementsPerToken(m), kept));
    states = SatAdd(states, StateBytes(m, compute));
  });
  return SatAdd(kv_element.Of(elements), states);
}

ModelShape ModelShape::WithLayers(std::int64_t count) const {
  ModelShape shape = *this;
  if (count == static_cast<std::int64_t>(layers.size())) return shape;
  shape.weight_bytes.reset();
  shape.layers.clear();
  if (layers.empty()) return shape;
  for (std::int64_t i = 0; i < count; ++i) {
    shape.layers.push_back(layers[i % layers.size()]);
  }
  return shape;
}

}  // namespace tidegate
