// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/transformers_law.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <iterator>
#include <utility>

#include "estimators/model_parts.h"
#include "estimators/transformers_moments.h"

namespace tidegate::internal {
namespace {

// Holds any sum of products of bytes and values.
__extension__ using Int128 = __int128;

// Bytes per unit of each basis, all buffers of a moment together.
using Sums = std::array<std::int64_t, kBasisCount>;

// Bytes of a mixer's recurrent and convolution state.
Bytes StateBytes(const Mixer& m, std::int64_t width) {
  const std::int64_t heads = std::max<std::int64_t>(1, m.linear_value_heads);
  const std::int64_t dim =
      m.linear_value_dim > 0 ? heads * m.linear_value_dim : m.linear_inner;
  return SatAdd(SatMul(m.state_element_bytes, dim, m.linear_key_dim),
                SatMul(width, m.conv_dim, m.conv_kernel));
}

// Whether one basis is at least another whatever the step: n <= kv_len, a
// window sees no more than all keys, masks are made or not.
bool Covers(Basis large, Basis small) {
  using B = Basis;
  const auto among = [large](std::initializer_list<Basis> list) {
    return std::find(list.begin(), list.end(), large) != list.end();
  };
  switch (small) {
    case B::kOne:
      return among({B::kTokens, B::kScanTokens, B::kKeys, B::kWindowKeys,
                    B::kCells, B::kWindowCells});
    case B::kTokens:
      return among({B::kScanTokens, B::kKeys, B::kWindowKeys, B::kCells,
                    B::kWindowCells});
    case B::kMaskCells:
      return among({B::kPadCells, B::kCells});
    case B::kKeys:
    case B::kWindowCells:
      return among({B::kCells});
    case B::kRepeatKeys:
      return among({B::kKeys, B::kCells});
    case B::kWindowMaskCells:
      return among({B::kWindowPadCells, B::kWindowCells, B::kCells});
    case B::kWindowKeys:
      return among({B::kWindowCells, B::kKeys, B::kCells});
    case B::kWindowRepeatKeys:
      return among({B::kWindowKeys, B::kWindowCells, B::kKeys, B::kCells});
    case B::kScanTokens:
    case B::kCells:
    case B::kPadCells:
    case B::kWindowPadCells:
    case B::kSplits:
    case B::kRows:
      return false;
  }
  return false;
}

// Whether `a` is at most `b` whatever the step: equal bases first, then what is
// left of a against what is left of b. May miss some pairs.
bool NeverAbove(Sums need, Sums have) {
  const auto take = [&](int small, int large) {
    const std::int64_t bytes = std::min(need[small], have[large]);
    need[small] -= bytes;
    have[large] -= bytes;
  };
  for (int i = 0; i < kBasisCount; ++i) take(i, i);
  for (int i = 0; i < kBasisCount; ++i) {
    for (int j = 0; j < kBasisCount; ++j) {
      if (Covers(static_cast<Basis>(j), static_cast<Basis>(i))) take(i, j);
    }
    if (need[i] > 0) return false;
  }
  return true;
}

// Bytes that the caching allocator holds for a block beyond those asked for:
// multiples of 512, and the rest of a cached block that is not split off, at
// most 1 MiB (kSmallSize; c10/cuda/CUDACachingAllocator.cpp, v2.11.0). What is
// left over depends on which blocks were freed before. A model frees blocks of
// all its widths, so blocks below 10 MiB, which are cut from shared segments,
// are taken to the next 2 MiB; larger ones to the next MiB, or to the end of
// their 2 MiB where at most 1 MiB is left. Never falls as `bytes` grows.
Bytes BlockRounding(Bytes bytes) {
  constexpr Bytes kMiB = Bytes{1} << 20;
  if (bytes > kBytesMax - 2 * kMiB) return 0;  // saturated already
  const auto up = [&](Bytes unit) { return (bytes + unit - 1) & ~(unit - 1); };
  if (bytes < 2 * kMiB) return up(512) - bytes;
  const Bytes segment = up(2 * kMiB);
  if (bytes < 10 * kMiB || segment - bytes <= kMiB) return segment - bytes;
  return up(kMiB) - bytes;
}

template <typename Buffers>
Sums SumsOf(const Buffers& buffers, bool fixed_only) {
  Sums sums{};
  for (const auto& buffer : buffers) {
    // Several of a size count as depending on n (Emit).
    if (fixed_only && !(IsFixed(buffer.basis) && buffer.count == 1)) continue;
    sums[static_cast<int>(buffer.basis)] += buffer.bytes * buffer.count;
  }
  return sums;
}

}  // namespace

TransformersLaw::TransformersLaw(const ModelShape& shape,
                                 const TransformersOptions& options)
    : options_(options) {
  bool known = false;
  const TransformersFamily family =
      FindTransformersFamily(shape.model_type, &known);
  assumed_ = !known;
  flash_ = options.attention == TransformersAttention::kFlashLr;
  masks_ = !flash_;
  skips_mask_ = options.attention == TransformersAttention::kSdpa;
  const std::int64_t width = SizeOf(shape.compute);
  for (int i = 0; i < static_cast<int>(shape.mixers.size()); ++i) {
    const Mixer& m = shape.mixers[i];
    const std::int64_t layers = shape.MixerCount(i);
    switch (m.kind) {
      case MixerKind::kFull:
        if (m.stores_kv) {
          growth_ += layers * width * m.kv_heads * (m.head_dim + m.head_dim_v);
        }
        if (flash_) {
          splits_ =
              FlashSplits(m.q_heads, m.kv_heads, m.head_dim, options.sm_count);
        }
        break;
      case MixerKind::kSliding:
        window_ = std::max(window_, m.window);
        if (m.stores_kv) {
          window_growth_ +=
              layers * width * m.kv_heads * (m.head_dim + m.head_dim_v);
        }
        break;
      case MixerKind::kLatent:
        growth_ += layers * width * (m.kv_lora_rank + m.rope_dim);
        if (flash_) {
          splits_ =
              FlashSplits(m.q_heads, m.q_heads, m.head_dim, options.sm_count);
        }
        break;
      case MixerKind::kLinear:
        if (m.linear == LinearKind::kMamba2) scan_chunk_ = family.scan_chunk;
        state_ = SatAdd(state_, SatMul(layers, StateBytes(m, width)));
        break;
      case MixerKind::kNone:
        break;
    }
  }
  moments_ = MomentBuilder(shape, family, options_).Build();
  Finish();
}

TransformersLaw::Run TransformersLaw::Flatten(const Moment& moment,
                                              bool fixed_only) {
  const Sums sums = SumsOf(moment.buffers, fixed_only);
  Run run{.first = static_cast<int>(weights_.size())};
  for (int i = 0; i < kBasisCount; ++i) {
    if (sums[i] > 0) weights_.push_back({.bytes = sums[i], .basis = i});
  }
  run.last = static_cast<int>(weights_.size());
  return run;
}

void TransformersLaw::Finish() {
  // Of equal moments the first stays.
  const auto kept = [&](std::size_t i, bool fixed_only) {
    const Sums mine = SumsOf(moments_[i].buffers, fixed_only);
    for (std::size_t j = 0; j < moments_.size(); ++j) {
      const Sums other = SumsOf(moments_[j].buffers, fixed_only);
      if (i == j || !NeverAbove(mine, other)) continue;
      if (j < i || !NeverAbove(other, mine)) return false;
    }
    return true;
  };
  std::vector<Weight> largest;
  Bytes most = 1;
  for (std::size_t i = 0; i < moments_.size(); ++i) {
    Moment& moment = moments_[i];
    for (const Buffer& buffer : moment.buffers) {
      const int basis = static_cast<int>(buffer.basis);
      most = SatAdd(most, SatMul(buffer.bytes, buffer.count));
      auto same = std::find_if(largest.begin(), largest.end(),
                               [&](const Weight& w) { return w.basis == basis; });
      if (same == largest.end()) {
        largest.push_back({.bytes = buffer.bytes, .basis = basis});
      } else {
        same->bytes = std::max(same->bytes, buffer.bytes);
      }
    }
    if (kept(i, true)) kept_fixed_.push_back(Flatten(moment, true));
    moment.dominated = !kept(i, false);
    if (moment.dominated) continue;
    Kept row{.sum = Flatten(moment, false)};
    row.buffers.first = static_cast<int>(weights_.size());
    for (const Buffer& buffer : moment.buffers) {
      row.most_rounding += buffer.count * (Bytes{2} << 20);
      const int basis = static_cast<int>(buffer.basis);
      const auto same = std::find_if(
          weights_.begin() + row.buffers.first, weights_.end(),
          [&](const Weight& w) {
            return w.basis == basis && w.bytes == buffer.bytes;
          });
      if (same == weights_.end()) {
        weights_.push_back({.bytes = buffer.bytes,
                            .basis = basis,
                            .count = static_cast<int>(buffer.count)});
      } else {
        same->count += static_cast<int>(buffer.count);
      }
    }
    row.buffers.last = static_cast<int>(weights_.size());
    TG_CHECK(static_cast<int>(kept_.size()) < kMostKept);
    kept_.push_back(row);
  }
  largest_.first = static_cast<int>(weights_.size());
  weights_.insert(weights_.end(), largest.begin(), largest.end());
  largest_.last = static_cast<int>(weights_.size());
  // Half of the range is left for rounding.
  plain_max_ = kBytesMax / 2 / most;
}

template <typename Wide>
Bytes TransformersLaw::Sum(const Run& run, const Values& values) const {
  Wide sum = 0;
  for (int i = run.first; i < run.last; ++i) {
    sum += static_cast<Wide>(weights_[i].bytes) * values[weights_[i].basis];
  }
  return sum > kBytesMax ? kBytesMax : static_cast<Bytes>(sum);
}

template <typename Wide>
Bytes TransformersLaw::RoundingOf(const Kept& kept,
                                  const Values& values) const {
  Bytes rounding = 0;
  for (int i = kept.buffers.first; i < kept.buffers.last; ++i) {
    const Weight& buffer = weights_[i];
    const Wide one = static_cast<Wide>(buffer.bytes) * values[buffer.basis];
    if (one > kBytesMax) continue;  // as for a saturated one
    rounding += buffer.count * BlockRounding(static_cast<Bytes>(one));
  }
  return rounding;
}

template <typename Wide>
TransformersLaw::Totals TransformersLaw::TotalsOf(const Values& values) const {
  // Sums first: rounding is needed only where it may decide.
  Totals totals;
  std::array<Bytes, kMostKept> sums;
  const int count = static_cast<int>(kept_.size());
  int first = 0;
  for (int i = 0; i < count; ++i) {
    sums[i] = Sum<Wide>(kept_[i].sum, values);
    if (sums[i] > sums[first]) first = i;
  }
  if (count > 0) {
    totals.transient =
        SatAdd(sums[first], RoundingOf<Wide>(kept_[first], values));
  }
  for (int i = 0; i < count; ++i) {
    if (i == first ||
        SatAdd(sums[i], kept_[i].most_rounding) <= totals.transient) {
      continue;
    }
    totals.transient =
        std::max(totals.transient,
                 SatAdd(sums[i], RoundingOf<Wide>(kept_[i], values)));
  }
  for (const Run& run : kept_fixed_) {
    totals.fixed = std::max(totals.fixed, Sum<Wide>(run, values));
  }
  for (int i = largest_.first; i < largest_.last; ++i) {
    const Wide one =
        static_cast<Wide>(weights_[i].bytes) * values[weights_[i].basis];
    totals.largest = std::max(
        totals.largest, one > kBytesMax ? kBytesMax : static_cast<Bytes>(one));
  }
  return totals;
}

TransformersLaw::Totals TransformersLaw::TotalsOf(const StepQuery& step) const {
  const Values values = ValuesOf(step);
  if (step.chunks.size() == 1 && step.decode_tokens == 0) {
    // No value of the step is above this: splits are at most 128 a token.
    const Chunk& chunk = step.chunks[0];
    const Bytes bound = SatAdd(SatMul(chunk.n, chunk.kv_len + 128), scan_chunk_,
                               StepLogitsRows(step));
    if (bound <= plain_max_) return TotalsOf<Bytes>(values);
  }
  return TotalsOf<Int128>(values);
}

Bytes TransformersLaw::Rounding(const Moment& moment, const Values& values) {
  Bytes rounding = 0;
  for (const Buffer& buffer : moment.buffers) {
    const Bytes one =
        SatMul(buffer.bytes, values[static_cast<int>(buffer.basis)]);
    rounding += buffer.count * BlockRounding(one);
  }
  return rounding;
}

void TransformersLaw::SetChunk(Tokens n, Tokens kv_len, Values& values) const {
  const auto set = [&](Basis basis, Bytes bytes) {
    values[static_cast<int>(basis)] = bytes;
  };
  set(Basis::kTokens, n);
  // A power of two: no division on the hot path.
  set(Basis::kScanTokens, SatAdd(n, scan_chunk_ - 1) & ~(scan_chunk_ - 1));
  // sdpa passes is_causal instead of a mask for a chunk that is the whole
  // sequence, and nothing for a single token (_ignore_causal_mask_sdpa).
  const bool first = n == kv_len || n == 1;
  const bool mask = masks_ && !(skips_mask_ && first);
  const Bytes cells = SatMul(n, kv_len);
  set(Basis::kCells, cells);
  set(Basis::kKeys, kv_len);
  if (mask) {
    set(Basis::kMaskCells, cells);
    set(Basis::kPadCells, SatMul(n, RoundUp(kv_len, 8)));
  }
  if (mask || !skips_mask_) set(Basis::kRepeatKeys, kv_len);
  if (flash_) {
    const std::int64_t splits = splits_.Count(n, kv_len);
    if (splits > 1) set(Basis::kSplits, SatMul(n, splits));
  }
  if (window_ == 0) return;
  const Tokens keys = std::min(kv_len, SatAdd(window_ - 1, n));
  const bool window_mask = masks_ && !(skips_mask_ && first && keys < window_);
  const Bytes window_cells = SatMul(n, keys);
  set(Basis::kWindowCells, window_cells);
  set(Basis::kWindowKeys, keys);
  if (window_mask) {
    set(Basis::kWindowMaskCells, window_cells);
    set(Basis::kWindowPadCells, SatMul(n, RoundUp(keys, 8)));
  }
  if (window_mask || !skips_mask_) set(Basis::kWindowRepeatKeys, keys);
}

TransformersLaw::Values TransformersLaw::ValuesOf(const StepQuery& step) const {
  Values values{};
  const auto add = [&](Tokens n, Tokens kv_len, Tokens times) {
    Values one{};
    SetChunk(n, kv_len, one);
    for (int i = 0; i < kBasisCount; ++i) {
      values[i] = SatAdd(values[i], SatMul(one[i], times));
    }
  };
  if (step.chunks.size() == 1) {
    SetChunk(step.chunks[0].n, step.chunks[0].kv_len, values);
  } else {
    for (const Chunk& chunk : step.chunks) add(chunk.n, chunk.kv_len, 1);
  }
  if (step.decode_tokens > 0) {
    add(1, std::max<Tokens>(1, step.decode_kv_len), step.decode_tokens);
  }
  values[static_cast<int>(Basis::kOne)] = 1;
  values[static_cast<int>(Basis::kRows)] = StepLogitsRows(step);
  return values;
}

Bytes TransformersLaw::Resident(const StepQuery& step) const {
  if (options_.preallocated_cache) return 0;
  Bytes bytes = 0;
  for (const Chunk& chunk : step.chunks) {
    bytes = SatAdd(bytes, SatMul(chunk.n, growth_));
    const Tokens held = chunk.kv_len - chunk.n;
    if (window_ > 0) {
      const Tokens before = std::min(held, window_ - 1);
      const Tokens after = std::min(chunk.kv_len, window_ - 1 + chunk.n);
      bytes = SatAdd(bytes, SatMul(after - before, window_growth_));
    }
    if (held == 0) bytes = SatAdd(bytes, state_);
  }
  return SatAdd(bytes,
                SatMul(step.decode_tokens, SatAdd(growth_, window_growth_)));
}

void TransformersLaw::Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                                  MaskKind /*mask*/,
                                  std::vector<Tokens>* out) const {
  const std::size_t start = out->size();
  if (flash_) splits_.Breakpoints(axis, fixed, lo, hi, out);
  // The first chunk of a sequence needs no mask, nor repeated heads.
  if (axis == Axis::kN && skips_mask_ && fixed > lo && fixed <= hi) {
    out->push_back(fixed);
  }
  std::sort(out->begin() + start, out->end());
  out->erase(std::unique(out->begin() + start, out->end()), out->end());
}

std::string TransformersLaw::RouteName(const StepQuery& /*step*/) const {
  std::string name = "torch.transformers.";
  switch (options_.attention) {
    case TransformersAttention::kSdpa:
      name += "sdpa";
      break;
    case TransformersAttention::kEager:
      name += "eager";
      break;
    case TransformersAttention::kFlashLr:
      name += "flash_lr";
      break;
  }
  return name + (options_.preallocated_cache ? ".prealloc" : ".dynamic");
}

}  // namespace tidegate::internal
