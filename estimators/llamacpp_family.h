// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp's graph depends on besides widths: the family of a model, and
// which of its layers need to be laid out.

#ifndef TIDEGATE_ESTIMATORS_LLAMACPP_FAMILY_H_
#define TIDEGATE_ESTIMATORS_LLAMACPP_FAMILY_H_

#include <algorithm>
#include <string_view>
#include <vector>

#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

inline constexpr Bytes kLlamaF32 = 4;

// A row that no machine has: keeps the sum of a few hundred buffers in range.
inline constexpr Bytes kLlamaRowBytesMax = Bytes{1} << 52;

// What a family's graph does beyond the common decoder.
struct LlamaFamily {
  bool scaled_input = false;    // embeddings scaled on entry (Gemma)
  bool scaled_queries = false;  // queries scaled apart from the scores
  bool post_norms = false;      // norms after attention and feed-forward
  bool packed_qkv = false;      // one projection yields q, k and v
  bool packed_gate = false;     // one projection yields gate and up
  bool late_rows = false;       // rows of logits are selected after all layers
};

inline LlamaFamily LlamaFamilyOf(const ModelShape& shape) {
  LlamaFamily family;
  const std::string_view type = shape.model_type;
  if (type.starts_with("gemma")) {
    family.scaled_input = family.scaled_queries = true;
    family.post_norms = type != "gemma";
  } else if (type.starts_with("phi3")) {
    family.scaled_queries = family.packed_qkv = family.packed_gate = true;
  } else if (type == "gpt_oss") {
    family.late_rows = true;
  }
  return family;
}

// Repeating layers leave the allocator in a state that repeats too, with a
// period of one or two repetitions. Long models are cut to two periods and
// what remains, which keeps the parity.
inline std::vector<Layer> CutLayers(const std::vector<Layer>& layers) {
  const int count = static_cast<int>(layers.size());
  constexpr int kKeepMax = 12;
  if (count <= kKeepMax) return layers;
  int period = 1;
  for (; period < count; ++period) {
    bool repeats = true;
    for (int i = period; i < count && repeats; ++i) {
      repeats = layers[i] == layers[i - period];
    }
    if (repeats) break;
  }
  if (period % 2 != 0) period *= 2;
  if (period <= kKeepMax) {
    const int keep = 2 * period + count % period;
    return {layers.begin(), layers.begin() + std::min(keep, count)};
  }
  // No short period (a few dense layers below the experts): the ends differ,
  // the middle repeats.
  std::vector<Layer> cut(layers.begin(), layers.begin() + kKeepMax);
  cut.insert(cut.end(), layers.end() - kKeepMax, layers.end());
  return count <= 2 * kKeepMax ? layers : cut;
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_LLAMACPP_FAMILY_H_
