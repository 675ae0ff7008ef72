// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/mlx_law.h"

#include <utility>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// In the order of MlxKernel.
constexpr std::string_view kKernels[] = {"mlx.unfused", "mlx.full",
                                         "mlx.vector", "mlx.cudnn"};

}  // namespace

MlxLaw::MlxLaw(const ModelShape& shape, const ResolvedEngine& engine)
    : compute_bytes_(SizeOf(shape.compute)),
      latent_scores_(engine.IntegerOption("latent_scores", 1)),
      cuda_(engine.spec.device.starts_with("cuda")),
      cpu_(engine.spec.device == "cpu"),
      queue_(cpu_ ? MlxCpuQueued(shape) : MlxCpuQueue{}),
      parts_(shape, engine.IntegerOption("head_fused_rows", 0)) {}

absl::StatusOr<MlxLaw> MlxLaw::Create(const ModelShape& shape,
                                      const Catalogue& catalogue,
                                      const ResolvedEngine& engine) {
  MlxLaw law(shape, engine);
  // The rotary scores are added to the others, so both exist at that moment;
  // measured on the CPU backend. Other devices: as the option says.
  if (law.cpu_)
    law.latent_scores_ = std::max<std::int64_t>(2, law.latent_scores_);
  const std::int64_t s = law.compute_bytes_;
  // mlx-lm's cache grows by concatenation. Other devices free the old copy
  // before the scores are made; the CPU's queue still holds it.
  const std::string_view cache = engine.Option("kv_cache");
  const bool concat =
      cache == "concat" || (law.queue_.with_cache > 0 && cache != "prealloc");
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const Mixer& mixer = shape.mixers[i];
    if (mixer.q_heads == 0 || shape.MixerCount(static_cast<int>(i)) == 0) {
      continue;
    }
    Kind kind;
    kind.latent = mixer.kind == MixerKind::kLatent;
    kind.part = mixer.kind == MixerKind::kSliding ? "attention.sliding"
                : kind.latent                     ? "attention.latent"
                                                  : "attention.full";
    kind.heads = mixer.q_heads;
    kind.kv_heads = mixer.kv_heads;
    kind.group = mixer.q_heads / std::max<std::int64_t>(1, mixer.kv_heads);
    kind.score_bytes = s;
    kind.head_dim_v = mixer.head_dim_v;
    kind.extra_scores = mixer.sinks ? 1 : 0;
    kind.window = mixer.kind == MixerKind::kSliding ? mixer.window : 0;
    kind.query_bytes = SatMul(mixer.q_heads, mixer.head_dim, s);
    kind.output_bytes = SatMul(mixer.q_heads, mixer.head_dim_v, s);
    if (shape.hidden > 0 && law.queue_.with_cache == 0) {
      // Residual and normed input, and the projections beside q.
      const std::int64_t gate = mixer.output_gate ? mixer.q_heads : 0;
      const std::int64_t rows_kv =
          kind.latent ? mixer.kv_lora_rank + mixer.rope_dim
                      : mixer.kv_heads * (mixer.head_dim + mixer.head_dim_v);
      kind.side_bytes =
          SatMul(s, SatAdd(2 * shape.hidden, gate * mixer.head_dim_v, rows_kv));
    }
    if (concat && mixer.stores_kv) {
      kind.concat_bytes =
          SatMul(s, kind.latent
                        ? mixer.kv_lora_rank + mixer.rope_dim
                        : mixer.kv_heads * (mixer.head_dim + mixer.head_dim_v));
    }
    AttentionFacts facts{.q_heads = mixer.q_heads,
                         .kv_heads = mixer.kv_heads,
                         .head_dim = mixer.head_dim,
                         .head_dim_v = mixer.head_dim_v};
    if (kind.latent) {
      // The kernel sees only the dims without rotation; the others reach it
      // as a mask. With one query it works in the latent space.
      facts.head_dim = mixer.head_dim - mixer.rope_dim;
      kind.expanded_key_bytes = SatMul(mixer.q_heads, facts.head_dim, s);
      kind.expanded_value_bytes = kind.output_bytes;
      kind.absorbed_bytes = SatMul(mixer.q_heads, mixer.kv_lora_rank, 2, s);
      kind.index_heads = mixer.index_heads;
      kind.index_topk = mixer.index_topk;
    }
    if (mixer.softcap) {
      // Soft-capped scores pass through tanh, so models write them out
      // themselves (mlx_lm/models/gemma2.py).
      kind.routes = RouteTable(
          Route{.kernel = std::string(kKernels[0]),
                .id = static_cast<int>(MlxKernel::kUnfused),
                .assumed = engine.assumed,
                .source = "mlx_lm/models/gemma2.py: logit soft-capping"});
    } else {
      TG_ASSIGN_OR_RETURN(
          kind.routes, catalogue.Bind(engine, facts, shape.compute, kKernels));
    }
    law.kinds_.push_back(std::move(kind));
  }
  return law;
}

void MlxLaw::Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                         MaskKind mask, std::vector<Tokens>* out) const {
  const auto add = [&](Tokens at) {
    if (at > lo && at <= hi) out->push_back(at);
  };
  for (const Kind& kind : kinds_) {
    if (kind.latent && axis != Axis::kKvLen) {
      add(2);  // from the latent space to expanded heads
    }
    MaskKind call = mask;
    if (kind.latent) call = kind.CallMask(mask, 2, 2);
    kind.routes.Breakpoints(axis, fixed, lo, hi, call, kind.window, out);
    const bool plain = mask == MaskKind::kCausal || mask == MaskKind::kNone;
    if (kind.window == 0 || !plain) continue;
    kind.routes.Breakpoints(axis, fixed, lo, hi, MaskKind::kBool, kind.window,
                            out);
    // The mask becomes an array when n > 1 and more than a window is attended.
    if (axis != Axis::kKvLen) add(2);
    if (axis == Axis::kKvLen) add(kind.window + 1);
    if (axis == Axis::kChunk) add(kind.window + 1 - fixed);
  }
}

std::string MlxLaw::RouteName(const StepQuery& step) const {
  std::string name = "none";
  Bytes largest = -1;
  for (const Kind& kind : kinds_) {
    for (const Chunk& chunk : step.chunks) {
      TotalsSink sink;
      EmitAttention(kind, chunk, 1, 0, sink);
      const Bytes bytes = sink.Totals(0).transient_bytes;
      if (bytes <= largest) continue;
      largest = bytes;
      name = RouteOf(kind, chunk).kernel;
    }
  }
  if (step.chunks.empty() && !kinds_.empty()) {
    name = RouteOf(kinds_[0], {.n = 1, .kv_len = step.decode_kv_len}).kernel;
  }
  return name;
}

std::string MlxLaw::Unsupported(const StepQuery& step) const {
  for (const Kind& kind : kinds_) {
    for (const Chunk& chunk : step.chunks) {
      const Route& route = RouteOf(kind, chunk);
      if (!route.supported) return route.reason;
    }
  }
  return "";
}

}  // namespace tidegate::internal
