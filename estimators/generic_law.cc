// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/generic_law.h"

#include <algorithm>

namespace tidegate::internal {

GenericLaw::GenericLaw(const ModelShape& shape, const GenericOptions& options)
    : options_(options), parts_(shape, 0) {
  const std::int64_t s = SizeOf(shape.compute);
  score_bytes_ = options.score_bytes > 0 ? options.score_bytes : s;
  masked_score_bytes_ = std::max<std::int64_t>(4, score_bytes_);
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const Mixer& mixer = shape.mixers[i];
    if (mixer.q_heads == 0 || shape.MixerCount(static_cast<int>(i)) == 0) {
      continue;
    }
    Kind kind;
    kind.part = mixer.kind == MixerKind::kSliding  ? "attention.sliding"
                : mixer.kind == MixerKind::kLatent ? "attention.latent"
                                                   : "attention.full";
    kind.heads = mixer.q_heads;
    kind.extra_scores = mixer.sinks ? 1 : 0;
    kind.window = mixer.kind == MixerKind::kSliding ? mixer.window : 0;
    kind.query_bytes = SatMul(mixer.q_heads, mixer.head_dim, s);
    kind.output_bytes = SatMul(mixer.q_heads, mixer.head_dim_v, s);
    if (mixer.kind == MixerKind::kLatent) {
      kind.expanded_key_bytes = kind.query_bytes;
      kind.expanded_value_bytes = kind.output_bytes;
      kind.index_bytes = SatMul(mixer.index_heads, s);
      kind.index_topk = mixer.index_topk;
    }
    kinds_.push_back(kind);
  }
}

std::string GenericLaw::RouteName(const StepQuery& /*step*/) const {
  switch (options_.kernel) {
    case GenericKernel::kFused:
      return "fused";
    case GenericKernel::kTiled:
      return "tiled";
    case GenericKernel::kUnfused:
      break;
  }
  return "unfused";
}

}  // namespace tidegate::internal
