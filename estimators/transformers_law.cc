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
bool NeverAbove(const std::vector<std::pair<Basis, std::int64_t>>& a,
                const std::vector<std::pair<Basis, std::int64_t>>& b) {
  std::array<std::int64_t, kBasisCount> need{};
  std::array<std::int64_t, kBasisCount> have{};
  for (const auto& [basis, bytes] : a) need[static_cast<int>(basis)] = bytes;
  for (const auto& [basis, bytes] : b) have[static_cast<int>(basis)] = bytes;
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

void TransformersLaw::Finish() {
  const auto add = [](Sums& sums, Basis basis, std::int64_t bytes) {
    for (auto& [seen, sum] : sums) {
      if (seen == basis) {
        sum += bytes;
        return;
      }
    }
    sums.emplace_back(basis, bytes);
  };
  for (Moment& moment : moments_) {
    for (const Buffer& buffer : moment.buffers) {
      const std::int64_t bytes = buffer.bytes * buffer.count;
      add(moment.sums, buffer.basis, bytes);
      // An AddMany counts as depending on n (Emit).
      if (IsFixed(buffer.basis) && buffer.count == 1) {
        add(moment.fixed_sums, buffer.basis, bytes);
      }
      moment.most_rounding += buffer.count * (Bytes{2} << 20);
      if (std::none_of(largest_.begin(), largest_.end(),
                       [&](const Buffer& other) {
                         return other.basis == buffer.basis &&
                                other.bytes >= buffer.bytes;
                       })) {
        std::erase_if(largest_, [&](const Buffer& other) {
          return other.basis == buffer.basis;
        });
        largest_.push_back(buffer);
      }
    }
  }
  // Of equal moments the first stays.
  const auto kept = [&](std::size_t i, Sums Moment::*sums) {
    for (std::size_t j = 0; j < moments_.size(); ++j) {
      if (i == j || !NeverAbove(moments_[i].*sums, moments_[j].*sums)) continue;
      if (j < i || !NeverAbove(moments_[j].*sums, moments_[i].*sums))
        return false;
    }
    return true;
  };
  for (std::size_t i = 0; i < moments_.size(); ++i) {
    if (kept(i, &Moment::fixed_sums))
      kept_fixed_.push_back(static_cast<int>(i));
    moments_[i].dominated = !kept(i, &Moment::sums);
    if (moments_[i].dominated) continue;
    TG_CHECK(kept_count_ < kMostKept);
    kept_[kept_count_++] = static_cast<std::int16_t>(i);
  }
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

void TransformersLaw::AddChunk(Tokens n, Tokens kv_len, Values& values) const {
  const auto add = [&](Basis basis, Bytes bytes) {
    Bytes& value = values[static_cast<int>(basis)];
    value = SatAdd(value, bytes);
  };
  add(Basis::kTokens, n);
  // A power of two: no division on the hot path.
  add(Basis::kScanTokens, SatAdd(n, scan_chunk_ - 1) & ~(scan_chunk_ - 1));
  // sdpa passes is_causal instead of a mask for a chunk that is the whole
  // sequence, and nothing for a single token (_ignore_causal_mask_sdpa).
  const bool first = n == kv_len || n == 1;
  const bool mask = masks_ && !(skips_mask_ && first);
  const Bytes cells = SatMul(n, kv_len);
  add(Basis::kCells, cells);
  add(Basis::kKeys, kv_len);
  if (mask) {
    add(Basis::kMaskCells, cells);
    add(Basis::kPadCells, SatMul(n, RoundUp(kv_len, 8)));
  }
  if (mask || !skips_mask_) add(Basis::kRepeatKeys, kv_len);
  if (flash_) {
    const std::int64_t splits = splits_.Count(n, kv_len);
    if (splits > 1) add(Basis::kSplits, SatMul(n, splits));
  }
  if (window_ == 0) return;
  const Tokens keys = std::min(kv_len, SatAdd(window_ - 1, n));
  const bool window_mask = masks_ && !(skips_mask_ && first && keys < window_);
  const Bytes window_cells = SatMul(n, keys);
  add(Basis::kWindowCells, window_cells);
  add(Basis::kWindowKeys, keys);
  if (window_mask) {
    add(Basis::kWindowMaskCells, window_cells);
    add(Basis::kWindowPadCells, SatMul(n, RoundUp(keys, 8)));
  }
  if (window_mask || !skips_mask_) add(Basis::kWindowRepeatKeys, keys);
}

TransformersLaw::Values TransformersLaw::ValuesOf(const StepQuery& step) const {
  Values values{};
  values[static_cast<int>(Basis::kOne)] = 1;
  values[static_cast<int>(Basis::kRows)] = StepLogitsRows(step);
  for (const Chunk& chunk : step.chunks) {
    AddChunk(chunk.n, chunk.kv_len, values);
  }
  if (step.decode_tokens > 0) {
    Values decode{};
    AddChunk(1, std::max<Tokens>(1, step.decode_kv_len), decode);
    for (int i = 0; i < kBasisCount; ++i) {
      values[i] = SatAdd(values[i], SatMul(decode[i], step.decode_tokens));
    }
  }
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
