// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Valid model shapes drawn at random, for property tests: every kind of mixer
// and block, widths that no published model has, and model_types that laws
// know, in part know, or don't.

#ifndef TIDEGATE_TESTS_TESTING_RANDOM_SHAPES_H_
#define TIDEGATE_TESTS_TESTING_RANDOM_SHAPES_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <random>

#include "tests/testing/shapes.h"
#include "tidegate/model_shape.h"

namespace tidegate::testing {

class RandomShapes {
 public:
  explicit RandomShapes(std::uint64_t seed) : random_(seed) {}

  // In [low, high].
  std::int64_t In(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(
                     random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool OneIn(std::int64_t count) { return In(1, count) == 1; }
  template <typename T>
  T Of(std::initializer_list<T> values) {
    return values.begin()[In(0, static_cast<std::int64_t>(values.size()) - 1)];
  }
  // Up to `high`, every order of magnitude as likely.
  std::int64_t Magnitude(std::int64_t high) {
    std::int64_t top = 1;
    for (std::int64_t i = In(0, 27); i > 0 && top < high; --i) top *= 2;
    return In(1, std::min(top, high));
  }

  Mixer NextMixer() {
    const std::int64_t kv_heads = Of<std::int64_t>({1, 1, 2, 3, 4, 8});
    const std::int64_t q_heads = kv_heads * Of<std::int64_t>({1, 2, 3, 6, 8});
    const std::int64_t dim =
        Of<std::int64_t>({32, 64, 72, 80, 96, 112, 128, 160, 192, 256, 512});
    Mixer mixer;
    switch (In(0, 5)) {
      case 0:
        mixer = SlidingMixer(q_heads, kv_heads, dim, Magnitude(8192));
        break;
      case 1:
        mixer = LatentMixer(q_heads, dim, Of<std::int64_t>({16, 64}),
                            Of<std::int64_t>({dim, 128}), In(1, 8) * 64);
        if (OneIn(2)) {
          mixer.index_heads = Of<std::int64_t>({4, 64});
          mixer.index_head_dim = 128;
          mixer.index_topk = Magnitude(4096);
          mixer.stores_index = OneIn(2);
        }
        return mixer;
      case 2:
        return NextLinear();
      default:
        mixer = FullMixer(q_heads, kv_heads, dim);
    }
    if (OneIn(8)) mixer.head_dim_v = 128;
    mixer.stores_kv = !OneIn(8);
    mixer.sinks = OneIn(6);
    mixer.output_gate = OneIn(6);
    mixer.qk_norm = OneIn(3);
    mixer.bias = OneIn(4);
    mixer.softcap = OneIn(10);
    return mixer;
  }

  Mixer NextLinear() {
    Mixer mixer = DeltaNetMixer();
    mixer.linear = Of({LinearKind::kGatedDeltaNet, LinearKind::kMamba1,
                       LinearKind::kMamba2, LinearKind::kOther});
    mixer.linear_value_heads = 16 * In(1, 4);
    mixer.linear_inner = mixer.linear_value_heads * mixer.linear_value_dim;
    mixer.conv_dim = mixer.linear_inner + 2 * 16 * 128;
    return mixer;
  }

  FeedForward NextFeedForward() {
    FeedForward block{.intermediate = In(1, 200) * 64};
    block.gated = !OneIn(4);
    if (OneIn(8)) block.kind = FeedForwardKind::kNone;
    if (OneIn(2)) {
      block.kind = FeedForwardKind::kMoe;
      block.experts = 1 << In(2, 7);
      block.top_k = In(1, 4);
      if (OneIn(3)) block.shared_intermediate = In(1, 32) * 64;
      if (OneIn(6)) block.parallel_intermediate = In(1, 32) * 64;
    }
    return block;
  }

  ModelShape Next() {
    ModelShape shape;
    shape.name = "random";
    shape.model_type =
        Of({"", "llama", "gemma3", "qwen3_moe", "deepseek_v3", "qwen3_next",
            "falcon_h1", "nemotron_h", "gpt_oss", "phi3", "not_yet_known"});
    shape.compute =
        Of({ComputeType::kBf16, ComputeType::kFp16, ComputeType::kFp32});
    shape.kv_element = Of({ElementSize::OfBytes(2),
                           ElementSize::OfBytes(SizeOf(shape.compute)),
                           ElementSize{34 * 65536 / 32}});
    shape.hidden = OneIn(6) ? 0 : In(1, 64) * 128;
    shape.vocab = OneIn(4) ? 0 : In(1, 250'000);
    const std::int64_t kinds = In(1, 3);
    for (std::int64_t i = 0; i < kinds; ++i) {
      shape.mixers.push_back(NextMixer());
      shape.feed_forwards.push_back(NextFeedForward());
    }
    for (std::int64_t i = In(1, 6); i > 0; --i) {
      Layer layer{.mixer = static_cast<int>(In(0, kinds - 1)),
                  .feed_forward = static_cast<int>(In(0, kinds - 1))};
      if (OneIn(8)) layer.extra_mixer = static_cast<int>(In(0, kinds - 1));
      shape.layers.push_back(layer);
    }
    return shape;
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_RANDOM_SHAPES_H_
