// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/mlx_cpu_queue.h"

#include <algorithm>

namespace tidegate::internal {
namespace {

// Norms compute in fp32: 16-bit inputs are widened, squared, scaled and
// narrowed; fp32 ones squared and scaled. The weight is multiplied in place.
Bytes Norm(std::int64_t width, std::int64_t s) {
  return SatMul(width, s < 4 ? 3 * 4 + s : 2 * 4);
}

// Four products of half the width, of which two take the sums, and their
// concatenation. Angles, sines and cosines are fp32 and then narrowed.
Bytes Rope(std::int64_t heads, std::int64_t dim, std::int64_t s) {
  return SatAdd(SatMul(heads, dim, 3 * s), SatMul(dim / 2, 3 * 4 + 2 * s));
}

// From the residual stream to the scores.
Bytes MixerInput(const Mixer& m, std::int64_t hidden, std::int64_t s) {
  Bytes bytes = Norm(hidden, s);
  switch (m.kind) {
    case MixerKind::kFull:
    case MixerKind::kSliding: {
      const std::int64_t q = SatMul(m.q_heads, m.head_dim);
      const std::int64_t k = SatMul(m.kv_heads, m.head_dim);
      const std::int64_t v = SatMul(m.kv_heads, m.head_dim_v);
      bytes = SatAdd(bytes, SatMul(SatAdd(q, k, v), s));
      if (m.output_gate) bytes = SatAdd(bytes, SatMul(q, s));
      if (m.qk_norm) bytes = SatAdd(bytes, Norm(q, s), Norm(k, s));
      return SatAdd(bytes, Rope(m.q_heads, m.head_dim, s),
                    Rope(m.kv_heads, m.head_dim, s));
    }
    case MixerKind::kLatent: {
      const std::int64_t q = SatMul(m.q_heads, m.head_dim);
      bytes = SatAdd(bytes, SatMul(SatAdd(q, m.q_lora_rank), s),
                     Norm(m.q_lora_rank, s));
      bytes = SatAdd(bytes, SatMul(SatAdd(m.kv_lora_rank, m.rope_dim), s),
                     Norm(m.kv_lora_rank, s));
      return SatAdd(bytes, Rope(m.q_heads, m.rope_dim, s),
                    Rope(1, m.rope_dim, s));
    }
    case MixerKind::kLinear: {
      const std::int64_t values =
          std::max(m.linear_inner,
                   SatMul(m.linear_value_heads, m.linear_value_dim));
      // Projection with its gate, padded and convolved channels, activation.
      return SatAdd(bytes,
                    SatMul(s, SatAdd(SatMul(4, m.conv_dim), values)));
    }
    case MixerKind::kNone:
      return bytes;
  }
  return bytes;
}

// From the values to the residual stream.
Bytes MixerOutput(const Mixer& m, std::int64_t hidden, std::int64_t s) {
  // Projection and sum.
  const Bytes out = SatMul(hidden, 2 * s);
  if (m.kind == MixerKind::kNone) return 0;
  if (m.kind == MixerKind::kLinear) {
    const std::int64_t values = std::max(
        m.linear_inner, SatMul(m.linear_value_heads, m.linear_value_dim));
    return SatAdd(out, SatMul(values, 3 * s), Norm(values, s));
  }
  // The heads are brought together in a copy.
  return SatAdd(out, SatMul(m.q_heads, m.head_dim_v, s));
}

Bytes FeedForwardBytes(const FeedForward& f, std::int64_t hidden,
                       std::int64_t s) {
  if (f.kind == FeedForwardKind::kNone) return 0;
  const std::int64_t copies = f.gated ? 2 : 1;  // the product is in place
  // Norm, result and sum.
  Bytes bytes = SatAdd(Norm(hidden, s), SatMul(hidden, 2 * s));
  std::int64_t dense = SatAdd(f.shared_intermediate, f.parallel_intermediate);
  if (f.kind == FeedForwardKind::kDense) dense = f.intermediate;
  bytes = SatAdd(bytes, SatMul(dense, copies, s));
  if (f.kind != FeedForwardKind::kMoe) return bytes;
  if (dense > 0) bytes = SatAdd(bytes, SatMul(hidden, 2 * s));
  // Logits, their softmax and the order of the experts; indices are 4 bytes.
  bytes = SatAdd(bytes, SatMul(f.experts, 2 * s + 4));
  bytes = SatAdd(bytes, SatMul(f.top_k, 4 * 4 + 2 * s));
  // Rows gathered by expert, results, and results in the tokens' order.
  bytes = SatAdd(bytes, SatMul(f.top_k, hidden, 3 * s));
  return SatAdd(bytes, SatMul(f.top_k, f.intermediate, copies * s));
}

}  // namespace

Bytes MlxCpuQueuedBytes(const ModelShape& shape) {
  if (shape.hidden == 0) return 0;
  const std::int64_t s = SizeOf(shape.compute);
  Bytes most_input = 0;
  Bytes most_output = 0;
  for (const Layer& layer : shape.layers) {
    Bytes input = MixerInput(shape.mixers[layer.mixer], shape.hidden, s);
    Bytes output =
        SatAdd(MixerOutput(shape.mixers[layer.mixer], shape.hidden, s),
               FeedForwardBytes(shape.feed_forwards[layer.feed_forward],
                                shape.hidden, s));
    if (layer.extra_mixer >= 0) {
      const Mixer& extra = shape.mixers[layer.extra_mixer];
      input = SatAdd(input, MixerInput(extra, shape.hidden, s));
      output = SatAdd(output, MixerOutput(extra, shape.hidden, s));
    }
    most_input = std::max(most_input, input);
    most_output = std::max(most_output, output);
  }
  return SatAdd(most_input, most_output);
}

}  // namespace tidegate::internal
