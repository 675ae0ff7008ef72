// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What one forward pass of an mlx-lm model costs, by the kernel that
// mx.fast.scaled_dot_product_attention takes (catalog/mlx.toml). H query heads,
// n query tokens, K attended tokens, D and Dv head dims, s compute bytes:
//
//   unfused   s*H*n*K + s*H*n*(D + Dv), and n*K + 4*(n + K) for a causal mask:
//             one copy of the scores in the compute type, softmax in place, the
//             scaled q and the output. Within 0.1 % of measured calls. With
//             attention sinks two copies, and three on the CPU.
//   full      s*H*n*(D + Dv); no term in K
//   vector    the same, and the partial results of sdpa_vector_2pass
//   cudnn     the same, and a bool mask converted to the compute type
//
// Masks given as arrays belong to the caller. One of unknown type is taken to
// be fp32 and to promote unfused scores, values and output to 4 bytes.
//
// A sliding layer attends to window - 1 + n tokens (RotatingKVCache keeps that
// many during prefill) and, once they exceed the window, under a bool array
// that the model builds. A latent layer expands keys and values for all heads
// when n > 1, and its rotary scores are handed to the kernel as a float mask
// (mlx_lm/models/deepseek_v32.py), to which the others are added.
//
// On the CPU the queue of operations keeps a stretch of the layer alive beside
// its scores (mlx_cpu_queue.h).
//
// Chunks of several sequences run one after another: each attention part is the
// largest of them; what is linear in tokens adds up (model_parts.h).
//
// Immutable after construction; thread-safe.

#ifndef TIDEGATE_ESTIMATORS_MLX_LAW_H_
#define TIDEGATE_ESTIMATORS_MLX_LAW_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "estimators/mlx_cpu_queue.h"
#include "estimators/model_parts.h"
#include "estimators/price_sink.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// In the order of the list that MlxLaw binds with.
enum class MlxKernel { kUnfused, kFull, kVector, kCudnn };

class MlxLaw {
 public:
  // `shape` must be valid, `engine` resolved by `catalogue` with law "mlx".
  // InvalidArgument when the catalogue names a kernel without a formula.
  static absl::StatusOr<MlxLaw> Create(const ModelShape& shape,
                                       const Catalogue& catalogue,
                                       const ResolvedEngine& engine);

  template <typename Sink>
  void Emit(const StepQuery& step, Sink& sink) const {
    // Tokens whose buffers wait in the CPU's queue.
    const Tokens queued = queue_.with_cache > 0 ? StepTokens(step) : 0;
    for (const Kind& kind : kinds_) {
      for (const Chunk& chunk : step.chunks) {
        EmitAttention(kind, chunk, 1, queued, sink);
      }
      if (step.decode_tokens > 0) {
        // Decoding sequences are batched into one call, padded to the longest.
        EmitAttention(
            kind,
            {.n = 1, .kv_len = step.decode_kv_len, .mask = MaskKind::kCausal},
            step.decode_tokens, queued, sink);
      }
    }
    if (queued > 0) {
      sink.BeginPart("queued");
      sink.AddMany(
          "queued",
          SatMul(queued, std::max(queue_.with_cache, queue_.after_cache)), 0);
      sink.EndPart();
    }
    parts_.Emit(step, sink);
  }

  // Changes of route, and where a sliding layer's mask becomes an array.
  void Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi, MaskKind mask,
                   std::vector<Tokens>* out) const;

  // The kernel of the attention layer that costs most; "none" without one.
  std::string RouteName(const StepQuery& step) const;

  // Why a call of this step does not run; empty when all do.
  std::string Unsupported(const StepQuery& step) const;

 private:
  // One kind of softmax attention that occurs in the model.
  struct Kind {
    RouteTable routes = RouteTable(Route{});
    std::string_view part;
    std::int64_t heads = 0;
    std::int64_t kv_heads = 0;
    std::int64_t group = 1;
    std::int64_t score_bytes = 2;
    std::int64_t head_dim_v = 0;
    std::int64_t extra_scores = 0;  // columns: attention sinks
    Tokens window = 0;              // 0: every earlier token
    Bytes query_bytes = 0;          // of one token, all heads
    Bytes output_bytes = 0;
    // Residual, normed input, gate, new keys and values; 0 for bare attention.
    Bytes side_bytes = 0;
    Bytes concat_bytes = 0;  // of one attended token: kv_cache = concat

    // Latent layers.
    bool latent = false;
    Bytes expanded_key_bytes = 0;  // of one attended token, all heads
    Bytes expanded_value_bytes = 0;
    Bytes absorbed_bytes = 0;  // query and output of one token at n = 1
    std::int64_t index_heads = 0;
    Tokens index_topk = 0;

    Tokens Attended(Tokens n, Tokens kv_len) const {
      return window > 0 ? std::min(kv_len, SatAdd(window - 1, n)) : kv_len;
    }
    // The mask that the kernel is given.
    MaskKind CallMask(MaskKind mask, Tokens n, Tokens attended) const {
      if (latent) return mask == MaskKind::kArray ? mask : MaskKind::kFloat;
      const bool plain = mask == MaskKind::kCausal || mask == MaskKind::kNone;
      if (window > 0 && plain && n > 1 && attended > window) {
        return MaskKind::kBool;
      }
      return mask;
    }
  };

  MlxLaw(const ModelShape& shape, const ResolvedEngine& engine);

  const Route& RouteOf(const Kind& kind, const Chunk& chunk) const {
    const Tokens k = kind.Attended(chunk.n, chunk.kv_len);
    return kind.routes.Find(chunk.n, k, kind.CallMask(chunk.mask, chunk.n, k));
  }

  // Blocks that sdpa_vector_2pass cuts the keys into: the largest choice of
  // any Metal device, so that it never falls in n or K.
  Tokens VectorBlocks(const Kind& kind, Tokens n, Tokens k) const {
    if (k < 1024) return 0;
    if (cuda_) return 32;
    if (kind.group * n <= 4) return k > 8192 ? 256 : 128;
    if (k >= 65536) return 1024;
    if (k >= 16384) return 512;
    return k > 8192 ? 256 : 128;
  }

  template <typename Sink>
  void EmitIndexer(const Kind& kind, Tokens n, Tokens k, Sink& sink) const;
  template <typename Sink>
  void EmitAttention(const Kind& kind, const Chunk& chunk, Tokens batch,
                     Tokens queued, Sink& sink) const;
  // What the CPU's queue keeps alive beside a layer's attention.
  template <typename Sink>
  void AddQueued(const Kind& kind, Tokens k, Tokens queued, Sink& sink) const {
    if (queued == 0) return;
    const Bytes with = SatMul(queued, queue_.with_cache);
    const Bytes after = SatMul(queued, queue_.after_cache);
    const Bytes old = SatMul(k, kind.concat_bytes);
    if (after > SatAdd(with, old)) {
      sink.AddMany("queued", after, 0);
      return;
    }
    sink.AddMany("queued", with, 0);
    if (old > 0) sink.AddFixed("old_keys_and_values", old);
  }
  template <typename Sink>
  void EmitLatent(const Kind& kind, const Route& route, const Chunk& chunk,
                  Tokens batch, Tokens queued, Sink& sink) const;

  std::int64_t compute_bytes_ = 2;
  std::int64_t latent_scores_ = 1;
  bool cuda_ = false;
  bool cpu_ = false;
  MlxCpuQueue queue_;
  std::vector<Kind> kinds_;
  ModelParts parts_;
};

template <typename Sink>
void MlxLaw::EmitIndexer(const Kind& kind, Tokens n, Tokens k,
                         Sink& sink) const {
  // The indexer scores every key with every index head, reduces over the
  // heads, and keeps the best: argpartition yields 4-byte indices, which are
  // put into a bool mask.
  const std::int64_t pairs = SatMul(n, k);
  sink.BeginPart("attention.indexer");
  sink.Add("index_scores", SatMul(pairs, kind.index_heads, compute_bytes_));
  sink.Add("reduced_scores", SatMul(pairs, compute_bytes_));
  sink.EndPart();
  sink.BeginPart("attention.indexer.select");
  sink.Add("reduced_scores", SatMul(pairs, compute_bytes_));
  sink.Add("indices", SatMul(pairs, 4));
  sink.Add("mask", pairs);
  sink.EndPart();
}

template <typename Sink>
void MlxLaw::EmitLatent(const Kind& kind, const Route& route,
                        const Chunk& chunk, Tokens batch, Tokens queued,
                        Sink& sink) const {
  const Tokens k = chunk.kv_len;
  const Tokens rows = SatMul(batch, chunk.n);
  const std::int64_t score = chunk.mask == MaskKind::kArray
                                 ? std::max<std::int64_t>(4, kind.score_bytes)
                                 : kind.score_bytes;
  const Bytes scores = SatMul(SatMul(kind.heads, rows), k, score);
  const bool masked = chunk.mask != MaskKind::kNone || kind.index_heads > 0;
  // With one query the kernel works on the latent rows themselves.
  const bool expands = chunk.n > 1;
  const Bytes keys = expands ? SatMul(batch, k, kind.expanded_key_bytes) : 0;
  const Bytes values =
      expands ? SatMul(batch, k, kind.expanded_value_bytes) : 0;
  // The rotary scores exist whatever the kernel does with the others; a fused
  // call has its keys and values beside them.
  const bool fused = route.id != static_cast<int>(MlxKernel::kUnfused);
  const std::int64_t copies = fused ? 1 : latent_scores_;
  sink.BeginPart(kind.part);
  sink.AddMany("scores", SatMul(scores, copies), scores);
  if (masked) sink.Add("mask", SatMul(rows, k));
  sink.AddFixed("expanded_keys", keys);
  // The CPU's queue may hold what comes before and after the scores.
  if (fused || queued > 0) {
    sink.AddFixed("expanded_values", values);
    sink.Add("output", SatMul(rows, kind.output_bytes));
  }
  sink.Add("query", SatMul(rows, kind.query_bytes));
  if (!expands) sink.Add("absorbed", SatMul(batch, kind.absorbed_bytes));
  if (kind.side_bytes > 0) sink.Add("hidden", SatMul(rows, kind.side_bytes));
  AddQueued(kind, k, queued, sink);
  sink.EndPart();
  if (fused) return;
  // Unfused, values are expanded only when the scores are done and the keys
  // are gone: MLX evaluates an operation's inputs in order.
  sink.BeginPart("attention.latent.output");
  sink.Add("scores", scores);
  if (masked) sink.Add("mask", SatMul(rows, k));
  sink.AddFixed("expanded_values", values);
  sink.Add("output", SatMul(rows, kind.output_bytes));
  if (!expands) sink.Add("absorbed", SatMul(batch, kind.absorbed_bytes));
  if (kind.side_bytes > 0) sink.Add("hidden", SatMul(rows, kind.side_bytes));
  AddQueued(kind, k, queued, sink);
  sink.EndPart();
}

template <typename Sink>
void MlxLaw::EmitAttention(const Kind& kind, const Chunk& chunk, Tokens batch,
                           Tokens queued, Sink& sink) const {
  const Tokens n = chunk.n;
  const Tokens k = kind.Attended(n, chunk.kv_len);
  const Tokens rows = SatMul(batch, n);
  const MaskKind mask = kind.CallMask(chunk.mask, n, k);
  const Route& route = kind.routes.Find(n, k, mask);
  if (kind.index_heads > 0 && k > kind.index_topk) {
    EmitIndexer(kind, rows, k, sink);
  }
  if (kind.concat_bytes > 0) {
    sink.BeginPart("attention.concat");
    sink.AddFixed("old_keys_and_values", SatMul(k, kind.concat_bytes));
    sink.EndPart();
  }
  if (kind.latent && route.supported) {
    return EmitLatent(kind, route, chunk, batch, queued, sink);
  }
  sink.BeginPart(kind.part);
  Bytes output_bytes = kind.output_bytes;
  if (!route.supported) {
    sink.Add("unsupported", kBytesMax);
  } else {
    switch (static_cast<MlxKernel>(route.id)) {
      case MlxKernel::kUnfused: {
        std::int64_t score = kind.score_bytes;
        if (mask == MaskKind::kArray && score < 4) {
          score = 4;
          output_bytes = SatMul(output_bytes, 2);
          sink.AddFixed("promoted_values", SatMul(SatMul(batch, kind.kv_heads),
                                                  k, kind.head_dim_v, 4));
        }
        // Sinks are concatenated to the scores, which exist once before and
        // once after. The product with the values then reads rows that are not
        // dense: the CPU backend, and a product of one row, copies them.
        const Bytes row = SatMul(SatAdd(k, kind.extra_scores), score);
        const std::int64_t copies = kind.extra_scores == 0 ? 1
                                    : cpu_ || n == 1       ? 3
                                                           : 2;
        sink.AddMany("scores",
                     SatMul(SatMul(kind.heads, rows),
                            SatAdd(row, SatMul(copies - 1, k, score))),
                     SatMul(kind.heads, rows, row));
        if (mask == MaskKind::kCausal) {
          // arange(K), arange(n) and their comparison.
          sink.Add("mask", SatAdd(SatMul(n, k), SatMul(4, SatAdd(n, k))));
        }
        break;
      }
      case MlxKernel::kVector: {
        // A partial output in the compute type (fp32 on CUDA), a sum and a
        // maximum per block.
        const Tokens blocks = VectorBlocks(kind, n, k);
        const Bytes partial =
            SatMul(kind.head_dim_v, cuda_ ? 4 : kind.score_bytes);
        sink.AddMany("partials",
                     SatMul(SatMul(kind.heads, rows), blocks, partial + 8),
                     SatMul(SatMul(kind.heads, rows), blocks, partial));
        break;
      }
      case MlxKernel::kCudnn:
        if (mask == MaskKind::kBool) {
          sink.Add("mask_as_bias", SatMul(n, k, kind.score_bytes));
        }
        break;
      case MlxKernel::kFull:
        break;
    }
    if (kind.window > 0 && mask == MaskKind::kBool &&
        chunk.mask != MaskKind::kBool) {
      // create_causal_mask: two comparisons and their conjunction.
      sink.AddMany("mask", SatMul(n, k, 3), SatMul(n, k));
    }
  }
  sink.Add("query", SatMul(rows, kind.query_bytes));
  sink.Add("output", SatMul(rows, output_bytes));
  if (kind.side_bytes > 0) sink.Add("hidden", SatMul(rows, kind.side_bytes));
  AddQueued(kind, k, queued, sink);
  sink.EndPart();
}

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_MLX_LAW_H_
