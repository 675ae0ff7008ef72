// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/torch_law.h"

#include <algorithm>
#include <array>

#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// In the order of TorchKernel, so that Route::id is one.
constexpr std::string_view kKernels[] = {
    "torch.math",  "torch.math_rp", "torch.efficient",  "torch.flash",
    "torch.cudnn", "torch.eager",   "torch.tiled_math", "torch.tiled_inplace"};

std::string_view PartName(MixerKind kind) {
  switch (kind) {
    case MixerKind::kSliding:
      return "attention.sliding";
    case MixerKind::kLatent:
      return "attention.latent";
    default:
      return "attention.full";
  }
}

bool IsAttention(const Mixer& mixer) {
  return mixer.kind == MixerKind::kFull || mixer.kind == MixerKind::kSliding ||
         mixer.kind == MixerKind::kLatent;
}

}  // namespace

absl::StatusOr<TorchLaw> TorchLaw::Create(const ModelShape& shape,
                                          const Catalogue& catalogue,
                                          const ResolvedEngine& engine) {
  TorchLaw law(shape);
  const std::string_view attention = engine.Option("attention");
  law.caller_ = attention == "sdpa"       ? Caller::kSdpa
                : attention == "eager"    ? Caller::kEager
                : attention == "flash_lr" ? Caller::kFlashLowerRight
                                          : Caller::kDirect;
  law.gqa_ = engine.Option("gqa");
  law.tile_ = engine.IntegerOption("tile", 0);
  law.prealloc_ = engine.Option("kv_cache") == "prealloc";
  law.assumed_ = engine.assumed || engine.spec.device != "cuda-sm90";
  const std::int64_t sm_count = engine.IntegerOption("sm_count", 132);

  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const Mixer& mixer = shape.mixers[i];
    if (!IsAttention(mixer) || shape.MixerCount(static_cast<int>(i)) == 0) {
      continue;
    }
    Group group;
    // A latent layer expands its rows to k and v of every query head.
    group.expands = mixer.kind == MixerKind::kLatent;
    group.q_heads = mixer.q_heads;
    group.kv_heads = group.expands ? mixer.q_heads : mixer.kv_heads;
    group.head_dim = mixer.head_dim;
    group.head_dim_v = mixer.head_dim_v;
    group.window = mixer.kind == MixerKind::kSliding ? mixer.window : 0;
    group.names = MakeTorchPartNames(PartName(mixer.kind));
    group.concat_name = group.names.call + ".kv_concat";
    if (!law.prealloc_ && mixer.stores_kv) {
      group.concat_bytes = shape.kv_element.Of(
          group.expands ? SatAdd(mixer.kv_lora_rank, mixer.rope_dim)
                        : SatMul(mixer.kv_heads,
                                 std::max(mixer.head_dim, mixer.head_dim_v)));
    }
    TG_ASSIGN_OR_RETURN(group.routes,
                        catalogue.Bind(engine,
                                       {.q_heads = group.q_heads,
                                        .kv_heads = group.kv_heads,
                                        .head_dim = group.head_dim,
                                        .head_dim_v = group.head_dim_v},
                                       shape.compute, kKernels));
    group.splits =
        FlashSplits(group.q_heads, group.kv_heads, group.head_dim, sm_count);
    law.groups_.push_back(std::move(group));
  }
  return law;
}

TorchCall TorchLaw::MakeCall(const Group& group, const Route& route, Tokens n,
                             Tokens kv_len, MaskKind mask) const {
  const auto kernel = static_cast<TorchKernel>(route.id);
  TorchCall call{.kernel = kernel,
                 .gqa = TorchGqa::kMha,
                 .compute = shape_.compute,
                 .mask = mask,
                 .q_heads = group.q_heads,
                 .kv_heads = group.kv_heads,
                 .head_dim = group.head_dim,
                 .head_dim_v = group.head_dim_v,
                 .n = n,
                 .kv_len = kv_len,
                 .tile = tile_,
                 .splits = 1};
  const bool masks_array = MaskArrayBytes(n, kv_len, mask) > 0 ||
                           mask == MaskKind::kBool ||
                           mask == MaskKind::kFloat || mask == MaskKind::kArray;
  if (group.q_heads != group.kv_heads) {
    bool repeats = gqa_ == "repeat_kv" || kernel == TorchKernel::kEfficient ||
                   kernel == TorchKernel::kEager;
    // transformers gives enable_gqa only to calls without a mask.
    if (caller_ == Caller::kSdpa) repeats = repeats || masks_array;
    call.gqa = kernel == TorchKernel::kTiledInplace ? TorchGqa::kNative
               : repeats                            ? TorchGqa::kRepeatKv
                                                    : TorchGqa::kEnableGqa;
  }
  if (caller_ == Caller::kSdpa && masks_array && mask != MaskKind::kFloat) {
    call.mask = MaskKind::kBool;
  }
  if (caller_ == Caller::kFlashLowerRight) call.mask = MaskKind::kLowerRight;
  if (kernel == TorchKernel::kFlash) {
    call.splits = group.splits.Count(n, kv_len);
  }
  return call;
}

Bytes TorchLaw::MaskArrayBytes(Tokens n, Tokens kv_len, MaskKind mask) const {
  const bool causal =
      mask == MaskKind::kCausal || mask == MaskKind::kLowerRight;
  // n = kv_len needs no array in sdpa (is_causal); eager always has one, in
  // the compute type.
  if (caller_ == Caller::kSdpa && causal && n < kv_len) {
    return SatMul(n, kv_len);
  }
  if (caller_ == Caller::kEager && causal) {
    return SatMul(SizeOf(shape_.compute), n, kv_len);
  }
  return 0;
}

template <typename Sink>
void TorchLaw::EmitCall(const Group& group, Tokens n, Tokens kv_len,
                        MaskKind mask, Tokens tokens, Sink& sink) const {
  const Tokens attended = group.Attended(n, kv_len);
  const Route& route = group.routes.Find(n, attended, mask);
  if (!route.supported) {
    sink.BeginPart("unsupported");
    sink.AddFixed("unsupported", kBytesMax);
    sink.EndPart();
    return;
  }
  const std::int64_t width = SizeOf(shape_.compute);
  const TorchCall call = MakeCall(group, route, n, attended, mask);
  const auto alive = [&](auto& part) {
    // Outputs of the step's other sequences wait beside this call.
    part.Add("output_others",
             SatMul(width, tokens - n, group.q_heads, group.head_dim_v));
    if (shape_.hidden == 0) return;
    // An array is built once for the step, beside every layer; as an input of
    // the bare call it would be the caller's.
    part.Add("mask", MaskArrayBytes(n, attended, mask));
    // Residual stream and normed input, and what the projections left.
    part.Add("hidden", SatMul(2 * width, tokens, shape_.hidden));
    part.Add("q", SatMul(width, tokens, group.q_heads, group.head_dim));
    if (group.expands) {
      part.AddFixed("kv_expand",
                    SatMul(width, group.q_heads, attended, group.head_dim));
      part.AddFixed("kv_expand",
                    SatMul(width, group.q_heads, attended, group.head_dim_v));
    }
  };
  EmitTorchAttention(call, group.names, sink, alive);
  if (group.concat_bytes > 0) {
    // torch.cat: the old keys stay until the longer tensor is filled. Their
    // length is kv_len - n; counting n too keeps the price monotone in n.
    TorchPart concat(sink, group.concat_name);
    concat.AddFixed("kv_concat", SatMul(group.concat_bytes, attended));
    concat.End();
  }
}

template <typename Sink>
void TorchLaw::Emit(const StepQuery& step, Sink& sink) const {
  const Tokens tokens = StepTokens(step);
  for (const Group& group : groups_) {
    for (const Chunk& chunk : step.chunks) {
      EmitCall(group, chunk.n, chunk.kv_len, chunk.mask, tokens, sink);
    }
    if (step.decode_tokens > 0) {
      EmitCall(group, 1, std::max<Tokens>(step.decode_kv_len, 1),
               MaskKind::kNone, tokens, sink);
    }
  }
  parts_.Emit(step, sink);
}

template void TorchLaw::Emit<TotalsSink>(const StepQuery&, TotalsSink&) const;
template void TorchLaw::Emit<TermsSink>(const StepQuery&, TermsSink&) const;

void TorchLaw::Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                           MaskKind mask, std::vector<Tokens>* out) const {
  std::vector<Tokens> all;
  for (const Group& group : groups_) {
    group.routes.Breakpoints(axis, fixed, lo, hi, mask, group.window, &all);
    for (const Route& route : group.routes.routes()) {
      if (!route.supported) continue;
      const auto kernel = static_cast<TorchKernel>(route.id);
      // A sliding layer's length moves with n on every axis while the window
      // is full, and with kv_len before that.
      const Tokens reach = group.window > 0 ? group.window - 1 : 0;
      const auto add = [&](Axis moved, Tokens start, Tokens from, Tokens to) {
        if (from >= to) return;
        if (kernel == TorchKernel::kFlash) {
          group.splits.Breakpoints(moved, start, from, to, &all);
        }
        const MaskKind seen = caller_ != Caller::kSdpa   ? mask
                              : mask == MaskKind::kNone  ? MaskKind::kNone
                              : mask == MaskKind::kFloat ? MaskKind::kFloat
                                                         : MaskKind::kBool;
        TorchCallBreakpoints(kernel, seen, moved, start, from, to, &all);
      };
      add(axis, fixed, lo, hi);
      if (group.window > 0 && axis != Axis::kKvLen) {
        add(Axis::kChunk, reach, lo, hi);
      }
      // Between one query token and a chunk that is its whole context, sdpa
      // gains or loses its array; eager and flash_lr never do.
      if (caller_ == Caller::kSdpa) {
        const Tokens edge = axis == Axis::kKvLen ? SatAdd(fixed, 1) : fixed;
        if (axis != Axis::kChunk && edge > lo && edge <= hi) {
          all.push_back(edge);
        }
      }
    }
    // The split of a sliding layer stops moving where its window fills.
    if (group.window > 0) {
      Tokens full = 0;
      if (axis == Axis::kN) full = fixed - group.window + 1;
      if (axis == Axis::kKvLen) full = SatAdd(group.window - 1, fixed);
      if (axis == Axis::kChunk) full = group.window;
      for (const Tokens v : {full, SatAdd(std::max<Tokens>(full, 0), 1)}) {
        if (v > lo && v <= hi) all.push_back(v);
      }
    }
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  out->insert(out->end(), all.begin(), all.end());
}

std::string TorchLaw::RouteName(const StepQuery& step) const {
  if (groups_.empty()) return "none";
  const Group& group = groups_.front();
  if (step.chunks.empty()) {
    return group.routes
        .Find(1, group.Attended(1, std::max<Tokens>(step.decode_kv_len, 1)),
              MaskKind::kNone)
        .kernel;
  }
  const Chunk& chunk = step.chunks.front();
  return group.routes
      .Find(chunk.n, group.Attended(chunk.n, chunk.kv_len), chunk.mask)
      .kernel;
}

std::string TorchLaw::Unsupported(const StepQuery& step) const {
  for (const Group& group : groups_) {
    for (const Chunk& chunk : step.chunks) {
      const Route& route = group.routes.Find(
          chunk.n, group.Attended(chunk.n, chunk.kv_len), chunk.mask);
      if (!route.supported) return route.reason;
    }
    if (step.decode_tokens > 0) {
      const Route& route = group.routes.Find(
          1, group.Attended(1, step.decode_kv_len), MaskKind::kNone);
      if (!route.supported) return route.reason;
    }
  }
  return "";
}

}  // namespace tidegate::internal
