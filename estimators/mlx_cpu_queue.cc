// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/mlx_cpu_queue.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace tidegate::internal {
namespace {

constexpr int kQueueEntries = 120;

// The operations of a pass over one token, in order.
class Operations {
 public:
  Operations(std::int64_t hidden, std::int64_t s) : hidden_(hidden), s_(s) {}

  void Input(const Mixer& m);
  void Output(const Mixer& m);
  void FeedForwardBlock(const FeedForward& f);
  // The attention call, whose buffers are priced elsewhere.
  void Call() {
    // The last operation of Input() is the cache's.
    call_ = list_.size();
    Op(12, 0);
  }
  // The most that a full queue holds while the call is in it: beside the old
  // copy of the cache (true), or when the cache has grown already.
  Bytes Most(bool with_cache) const;

 private:
  struct Operation {
    int entries;
    Bytes bytes;
  };
  void Op(int entries, Bytes bytes) { list_.push_back({entries, bytes}); }

  // The weight's transposition, and the product.
  void Linear(std::int64_t width) { Op(3, SatMul(width, s_)); }
  // 16-bit inputs are widened, squared, scaled and narrowed, fp32 ones squared
  // and scaled; the weight is multiplied in place.
  void Norm(std::int64_t width) {
    if (width == 0) return;
    const Bytes wide = SatMul(width, 4);
    if (s_ < 4) Op(2, wide);
    Op(2, wide);
    Op(9, 0);  // mean, epsilon, root
    Op(3, wide);
    if (s_ < 4) Op(2, SatMul(width, s_));
    Op(2, 0);
  }
  // Angles, sines and cosines are fp32 and then narrowed. Four products of half
  // the width, two of which take the sums; their concatenation.
  void Rope(std::int64_t heads, std::int64_t dim) {
    if (heads == 0 || dim == 0) return;
    Op(20, SatMul(dim / 2, 3 * 4 + (s_ < 4 ? 2 * s_ : 0)));
    const Bytes half = SatMul(heads, dim, s_) / 2;
    for (int i = 0; i < 4; ++i) Op(3, half);
    Op(4, 0);
    Op(3, SatMul(half, 2));
  }
  void Gated(std::int64_t width, bool gated) {
    Linear(width);
    if (gated) Linear(width);
    Op(2, 0);  // the activation writes over its input
  }

  std::int64_t hidden_;
  std::int64_t s_;
  std::vector<Operation> list_;
  std::size_t call_ = 0;
};

void Operations::Input(const Mixer& m) {
  if (m.kind == MixerKind::kNone) return;
  Norm(hidden_);
  if (m.kind == MixerKind::kLinear) {
    const std::int64_t values = std::max(
        m.linear_inner, SatMul(m.linear_value_heads, m.linear_value_dim));
    Linear(SatAdd(m.conv_dim, values));
    // Padded with the state's columns, convolved, activated.
    Op(6, SatMul(m.conv_dim, s_));
    Op(4, SatMul(m.conv_dim, s_));
    Op(2, SatMul(m.conv_dim, s_));
    // The scan's inputs and outputs, and at least 30 operations on a segment
    // (ssm_attn and gated_delta_ops).
    Op(2, SatMul(values, s_));
    Op(60, 0);
    Op(2, SatMul(values, s_));
    return;
  }
  if (m.kind == MixerKind::kLatent) {
    if (m.q_lora_rank > 0) {
      Linear(m.q_lora_rank);
      Norm(m.q_lora_rank);
    }
    Linear(SatMul(m.q_heads, m.head_dim));
    Op(6, 0);
    Linear(SatAdd(m.kv_lora_rank, m.rope_dim));
    Op(4, 0);
    Norm(m.kv_lora_rank);
    Rope(m.q_heads, m.rope_dim);
    Rope(1, m.rope_dim);
    Op(10, 0);  // the cache
    return;
  }
  const std::int64_t q = SatMul(m.q_heads, m.head_dim);
  const std::int64_t k = SatMul(m.kv_heads, m.head_dim);
  Linear(m.output_gate ? SatMul(q, 2) : q);
  Linear(k);
  Linear(SatMul(m.kv_heads, m.head_dim_v));
  Op(6, 0);  // reshapes and transpositions
  if (m.qk_norm) {
    Norm(q);
    Norm(k);
  }
  Rope(m.q_heads, m.head_dim);
  Rope(m.kv_heads, m.head_dim);
  Op(10, 0);  // the cache
}

void Operations::Output(const Mixer& m) {
  if (m.kind == MixerKind::kNone) return;
  if (m.kind == MixerKind::kLinear) {
    const std::int64_t values = std::max(
        m.linear_inner, SatMul(m.linear_value_heads, m.linear_value_dim));
    Op(4, SatMul(values, s_));
    Op(4, SatMul(values, s_));  // gate
    Norm(values);
  } else {
    // The heads are brought together in a copy.
    Op(4, SatMul(m.q_heads, m.head_dim_v, s_));
    if (m.output_gate) Op(4, SatMul(m.q_heads, m.head_dim_v, s_));
  }
  Linear(hidden_);
  Op(2, SatMul(hidden_, s_));
}

void Operations::FeedForwardBlock(const FeedForward& f) {
  if (f.kind == FeedForwardKind::kNone) return;
  Norm(hidden_);
  if (f.kind == FeedForwardKind::kMoe) {
    Linear(f.experts);
    Op(2, SatMul(f.experts, 4));  // argpartition: indices
    Op(12, SatMul(f.top_k, 2 * s_));
    Op(9, SatMul(f.top_k, 4 * 4));  // order, its inverse, rows, experts
    // Rows gathered by expert, results, results in the tokens' order.
    const Bytes rows = SatMul(f.top_k, hidden_, s_);
    Op(3, rows);
    const Bytes wide = SatMul(f.top_k, f.intermediate, s_);
    Op(4, wide);
    if (f.gated) Op(4, wide);
    Op(2, 0);
    Op(4, rows);
    Op(3, rows);
    Op(3, 0);  // weights
    Op(2, SatMul(hidden_, s_));
    const std::int64_t beside =
        SatAdd(f.shared_intermediate, f.parallel_intermediate);
    if (beside > 0) {
      Gated(beside, f.gated);
      Linear(hidden_);
      Op(2, SatMul(hidden_, s_));
    }
  } else {
    Gated(f.intermediate, f.gated);
    Linear(hidden_);
  }
  Op(2, SatMul(hidden_, s_));
}

Bytes Operations::Most(bool with_cache) const {
  Bytes most = 0;
  for (std::size_t first = with_cache ? 0 : call_; first <= call_; ++first) {
    if (with_cache && first == call_ && call_ > 0) break;
    int entries = 0;
    Bytes bytes = 0;
    std::size_t i = first;
    for (; i < list_.size() && entries < kQueueEntries; ++i) {
      entries += list_[i].entries;
      bytes = SatAdd(bytes, list_[i].bytes);
    }
    if (i > call_) most = std::max(most, bytes);
  }
  // The residual stream waits outside the stretch.
  return SatAdd(most, SatMul(hidden_, s_));
}

}  // namespace

MlxCpuQueue MlxCpuQueued(const ModelShape& shape) {
  if (shape.hidden == 0) return {};
  const std::int64_t s = SizeOf(shape.compute);
  MlxCpuQueue most;
  // Two layers follow a layer's call at most. Beyond the last layer the first
  // one stands for what may come: a shape is often cut to a few layers.
  const std::size_t count = shape.layers.size();
  for (std::size_t i = 0; i < std::min<std::size_t>(count, 64); ++i) {
    Operations operations(shape.hidden, s);
    for (std::size_t step = 0; step < 4; ++step) {
      const Layer& layer = shape.layers[(i + count + step - 1) % count];
      const Mixer& mixer = shape.mixers[layer.mixer];
      operations.Input(mixer);
      if (layer.extra_mixer >= 0) {
        operations.Input(shape.mixers[layer.extra_mixer]);
      }
      if (step == 1) operations.Call();
      operations.Output(mixer);
      if (layer.extra_mixer >= 0) {
        operations.Output(shape.mixers[layer.extra_mixer]);
      }
      operations.FeedForwardBlock(shape.feed_forwards[layer.feed_forward]);
    }
    most.with_cache = std::max(most.with_cache, operations.Most(true));
    most.after_cache = std::max(most.after_cache, operations.Most(false));
  }
  return most;
}

}  // namespace tidegate::internal
