// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The three formulas that a policy file can name for any engine, and the law of
// engines that the catalogue does not know. With H query heads, K attended
// tokens, D and Dv the head dims, s the bytes of the compute type:
//
//   unfused  H*n*K*score + s*H*n*(D + Dv) + n*K for a causal mask
//   tiled    H*min(n, tile_q)*min(K, tile_k)*score + s*H*n*(D + Dv)
//   fused    s*H*n*(D + Dv)
//
// `score` is s unless the caller says otherwise, and 4 at least where a mask of
// unknown type promotes. Latent layers expand their keys and values first:
// s*H*K*(D + Dv). All three are monotone in n and in K.
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_GENERIC_LAW_H_
#define TIDEGATE_ESTIMATORS_GENERIC_LAW_H_

#include <string>
#include <string_view>
#include <vector>

#include "estimators/model_parts.h"
#include "estimators/price_sink.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

enum class GenericKernel { kFused, kTiled, kUnfused };

struct GenericOptions {
  GenericKernel kernel = GenericKernel::kUnfused;
  Tokens tile_q = 512;
  Tokens tile_k = 0;             // 0: the whole kv length
  std::int64_t score_bytes = 0;  // 0: the compute type
};

class GenericLaw {
 public:
  // `shape` must be valid.
  GenericLaw(const ModelShape& shape, const GenericOptions& options);

  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const {
    for (const Kind& kind : kinds_) {
      for (const Chunk& chunk : step.chunks) {
        EmitAttention(kind, chunk, 1, sink);
      }
      if (step.decode_tokens > 0) {
        // Decode steps are batched: every sequence's scores exist at once.
        EmitAttention(
            kind,
            {.n = 1, .kv_len = step.decode_kv_len, .mask = MaskKind::kNone},
            step.decode_tokens, sink);
      }
    }
    parts_.Emit(step, sink);
  }

  // None: the formulas never fall.
  void Breakpoints(Axis, Tokens, Tokens, Tokens, MaskKind,
                   std::vector<Tokens>*) const {}

  std::string RouteName(const StepQuery&) const;

 private:
  // One kind of softmax attention that occurs in the model.
  struct Kind {
    std::string_view part;
    std::int64_t heads = 0;
    std::int64_t extra_scores = 0;  // columns: attention sinks
    Tokens window = 0;              // 0: every earlier token
    Bytes query_bytes = 0;          // of one token, all heads
    Bytes output_bytes = 0;
    Bytes expanded_key_bytes = 0;  // of one attended token; latent layers
    Bytes expanded_value_bytes = 0;
    Bytes index_bytes = 0;  // of one pair of tokens; sparse indexer
    Tokens index_topk = 0;
  };

  template <typename Sink>
  void EmitAttention(const Kind& kind, const Chunk& chunk, Tokens batch,
                     Sink& sink) const {
    const Tokens n = chunk.n;
    const Tokens k = kind.window > 0
                         ? std::min(chunk.kv_len, SatAdd(kind.window - 1, n))
                         : chunk.kv_len;
    const std::int64_t score =
        chunk.mask == MaskKind::kArray ? masked_score_bytes_ : score_bytes_;
    const Tokens rows = SatMul(batch, n);
    if (kind.index_bytes > 0 && k > kind.index_topk) {
      sink.BeginPart("attention.indexer");
      sink.Add("index_scores", SatMul(rows, k, kind.index_bytes));
      sink.EndPart();
    }
    sink.BeginPart(kind.part);
    const Tokens columns = SatAdd(k, kind.extra_scores);
    switch (options_.kernel) {
      case GenericKernel::kUnfused:
        sink.Add("scores", SatMul(kind.heads, rows, columns, score));
        if (chunk.mask == MaskKind::kCausal) sink.Add("mask", SatMul(n, k));
        break;
      case GenericKernel::kTiled:
        sink.Add("scores",
                 SatMul(SatMul(kind.heads, batch), std::min(n, options_.tile_q),
                        options_.tile_k > 0 ? std::min(columns, options_.tile_k)
                                            : columns,
                        score));
        break;
      case GenericKernel::kFused:
        break;
    }
    sink.Add("query", SatMul(rows, kind.query_bytes));
    sink.Add("output", SatMul(rows, kind.output_bytes));
    if (kind.expanded_key_bytes > 0) {
      sink.AddFixed("expanded_keys", SatMul(batch, k, kind.expanded_key_bytes));
      sink.AddFixed("expanded_values",
                    SatMul(batch, k, kind.expanded_value_bytes));
    }
    if (parts_.hidden_bytes() > 0) {
      sink.Add("hidden", SatMul(rows, parts_.hidden_bytes()));
    }
    sink.EndPart();
  }

  GenericOptions options_;
  std::int64_t score_bytes_ = 2;
  std::int64_t masked_score_bytes_ = 4;
  std::vector<Kind> kinds_;
  ModelParts parts_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_GENERIC_LAW_H_
