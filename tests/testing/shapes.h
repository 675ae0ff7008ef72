// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Shapes that tests price.

#ifndef TIDEGATE_TESTS_TESTING_SHAPES_H_
#define TIDEGATE_TESTS_TESTING_SHAPES_H_

#include <cstdint>
#include <vector>

#include "tidegate/model_shape.h"

namespace tidegate::testing {

// Heads of one kind of full attention.
inline Mixer FullMixer(std::int64_t q_heads, std::int64_t kv_heads,
                       std::int64_t head_dim) {
  Mixer mixer;
  mixer.q_heads = q_heads;
  mixer.kv_heads = kv_heads;
  mixer.head_dim = head_dim;
  mixer.head_dim_v = head_dim;
  return mixer;
}

inline Mixer SlidingMixer(std::int64_t q_heads, std::int64_t kv_heads,
                          std::int64_t head_dim, Tokens window) {
  Mixer mixer = FullMixer(q_heads, kv_heads, head_dim);
  mixer.kind = MixerKind::kSliding;
  mixer.window = window;
  return mixer;
}

// A latent layer as DeepSeek's: nope + rope dims, a rank and value dims.
inline Mixer LatentMixer(std::int64_t q_heads, std::int64_t nope_dim,
                         std::int64_t rope_dim, std::int64_t v_dim,
                         std::int64_t rank) {
  Mixer mixer = FullMixer(q_heads, q_heads, nope_dim + rope_dim);
  mixer.kind = MixerKind::kLatent;
  mixer.head_dim_v = v_dim;
  mixer.rope_dim = rope_dim;
  mixer.kv_lora_rank = rank;
  return mixer;
}

inline Mixer DeltaNetMixer() {
  Mixer mixer;
  mixer.kind = MixerKind::kLinear;
  mixer.linear = LinearKind::kGatedDeltaNet;
  mixer.linear_key_heads = 16;
  mixer.linear_value_heads = 32;
  mixer.linear_key_dim = 128;
  mixer.linear_value_dim = 128;
  mixer.linear_inner = 32 * 128;
  mixer.conv_dim = 2 * 16 * 128 + 32 * 128;
  mixer.conv_kernel = 4;
  return mixer;
}

// Only attention is priced: no hidden width, no vocabulary.
inline ModelShape AttentionOnly(const Mixer& mixer,
                                ComputeType compute = ComputeType::kBf16) {
  ModelShape shape;
  shape.name = "attention";
  shape.compute = compute;
  shape.mixers = {mixer};
  shape.feed_forwards = {FeedForward{.kind = FeedForwardKind::kNone}};
  shape.layers = {Layer{}};
  return shape;
}

// A dense model around the mixers, one layer of each.
inline ModelShape DenseModel(const std::vector<Mixer>& mixers,
                             std::int64_t hidden, std::int64_t intermediate,
                             std::int64_t vocab) {
  ModelShape shape;
  shape.name = "dense";
  shape.hidden = hidden;
  shape.vocab = vocab;
  shape.mixers = mixers;
  shape.feed_forwards = {FeedForward{.intermediate = intermediate}};
  for (int i = 0; i < static_cast<int>(mixers.size()); ++i) {
    shape.layers.push_back({.mixer = i});
  }
  return shape;
}

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_SHAPES_H_
