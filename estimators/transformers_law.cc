// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/transformers_law.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <utility>

#include "estimators/model_parts.h"
#include "estimators/transformers_moments.h"

namespace tidegate::internal {
namespace {

// Two numbers in one register: GCC 12 keeps an array of eight in memory.
using Pair = double __attribute__((vector_size(16)));
inline Pair LoadPair(const double* from) {
  Pair pair;
  std::memcpy(&pair, from, sizeof(pair));
  return pair;
}
inline void StorePair(Pair pair, double* to) {
  std::memcpy(to, &pair, sizeof(pair));
}

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

bool IsCells(Basis basis) {
  using B = Basis;
  return basis == B::kCells || basis == B::kMaskCells ||
         basis == B::kPadCells || basis == B::kWindowCells ||
         basis == B::kWindowMaskCells || basis == B::kWindowPadCells;
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
inline Bytes BlockRounding(Bytes bytes) {
  constexpr Bytes kMiB = Bytes{1} << 20;
  // What is missing to a multiple of a power of two.
  const auto missing = [bytes](Bytes unit) { return -bytes & (unit - 1); };
  if (bytes < 2 * kMiB) return missing(512);
  const Bytes segment = missing(2 * kMiB);
  // Of what is missing to 2 MiB, the rest above a MiB is split off.
  return bytes < 10 * kMiB ? segment
                           : segment - (segment > kMiB ? kMiB : Bytes{0});
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

// sdpa passes is_causal instead of a mask for a chunk that is the whole
// sequence, and nothing for a single token (_ignore_causal_mask_sdpa). Full
// layers then pass grouped heads as they are.
inline bool NeedsNoMask(Tokens n, Tokens kv_len) {
  return n == kv_len || n == 1;
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
  // The math kernel makes a mask of is_causal itself; for the memory-efficient
  // one a first chunk is priced as the later ones are.
  skips_mask_ = options.attention == TransformersAttention::kSdpa &&
                options.sdpa_kernel == SdpaKernel::kChosen;
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

void TransformersLaw::Keep(const Moment& moment) {
  Kept kept{.first = static_cast<int>(weights_.size())};
  for (const Buffer& buffer : moment.buffers) {
    const int basis = static_cast<int>(buffer.basis);
    const int count = static_cast<int>(buffer.count);
    if (buffer.basis == Basis::kOne) {
      kept.rounding += count * BlockRounding(buffer.bytes);
      continue;
    }
    kept.most_rounding += count * (Bytes{2} << 20);
    const auto same = std::find_if(
        weights_.begin() + kept.first, weights_.end(), [&](const Weight& w) {
          return w.basis == basis && w.bytes == buffer.bytes;
        });
    if (same == weights_.end()) {
      weights_.push_back(
          {.bytes = buffer.bytes, .basis = basis, .count = count});
    } else {
      same->count += count;
    }
  }
  kept.most_rounding += kept.rounding;
  kept.last = static_cast<int>(weights_.size());
  kept_.push_back(kept);
}

void TransformersLaw::FillMatrix(const std::vector<Sums>& columns) {
  column_count_ = static_cast<int>(columns.size());
  TG_CHECK(column_count_ <= kMostColumns);
  constexpr int kOne = static_cast<int>(Basis::kOne);
  for (int basis = 0; basis < kBasisCount; ++basis) {
    if (basis == kOne) continue;
    for (const Sums& column : columns) {
      if (column[basis] == 0) continue;
      used_.push_back(basis);
      break;
    }
  }
  for (int first = 0; first < column_count_; first += kColumns) {
    const auto add_row = [&](int basis) {
      for (int i = first; i < first + kColumns; ++i) {
        matrix_.push_back(
            i < column_count_ ? static_cast<double>(columns[i][basis]) : 0);
      }
    };
    add_row(kOne);
    for (const int basis : used_) add_row(basis);
  }
}

void TransformersLaw::Finish() {
  // Of equal moments the first stays.
  const auto dominated = [&](std::size_t i, bool fixed_only) {
    const Sums mine = SumsOf(moments_[i].buffers, fixed_only);
    for (std::size_t j = 0; j < moments_.size(); ++j) {
      const Sums other = SumsOf(moments_[j].buffers, fixed_only);
      if (i == j || !NeverAbove(mine, other)) continue;
      if (j < i || !NeverAbove(other, mine)) return true;
    }
    return false;
  };
  std::vector<Sums> columns;
  std::vector<Weight> widest;
  // Of all moments together, more than any has.
  Bytes cells = 1;
  Bytes others = 1;
  for (std::size_t i = 0; i < moments_.size(); ++i) {
    Moment& moment = moments_[i];
    for (const Buffer& buffer : moment.buffers) {
      const int basis = static_cast<int>(buffer.basis);
      Bytes& most = IsCells(buffer.basis) ? cells : others;
      most = SatAdd(most, SatMul(buffer.bytes, buffer.count));
      auto same =
          std::find_if(widest.begin(), widest.end(),
                       [&](const Weight& w) { return w.basis == basis; });
      if (same == widest.end()) {
        widest.push_back({.bytes = buffer.bytes, .basis = basis});
      } else {
        same->bytes = std::max(same->bytes, buffer.bytes);
      }
    }
    moment.dominated = dominated(i, false);
    if (moment.dominated) continue;
    Keep(moment);
    columns.push_back(SumsOf(moment.buffers, false));
  }
  for (std::size_t i = 0; i < moments_.size(); ++i) {
    if (dominated(i, true)) continue;
    columns.push_back(SumsOf(moments_[i].buffers, true));
  }
  FillMatrix(columns);
  // Where a basis is never below another, its buffer may rule the other's out.
  for (const Weight& small : widest) {
    const auto rules_out = [&](const Weight& w) {
      return w.bytes >= small.bytes && Covers(static_cast<Basis>(w.basis),
                                              static_cast<Basis>(small.basis));
    };
    if (std::none_of(widest.begin(), widest.end(), rules_out)) {
      largest_.push_back(small);
    }
  }
  constexpr Bytes kHalfOfExact = Bytes{1} << 52;
  plain_cells_ = kHalfOfExact / cells;
  plain_others_ = kHalfOfExact / others;
}

__attribute__((always_inline)) inline void TransformersLaw::SetChunk(
    Tokens n, Tokens kv_len, Values& values) const {
  const auto set = [&](Basis basis, Bytes bytes) {
    values[static_cast<int>(basis)] = bytes;
  };
  set(Basis::kTokens, n);
  // A power of two: no division on the hot path.
  set(Basis::kScanTokens, SatAdd(n, scan_chunk_ - 1) & ~(scan_chunk_ - 1));
  const bool first = NeedsNoMask(n, kv_len);
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

inline Bytes TransformersLaw::PlainRounding(const Kept& kept,
                                            const Values& values) const {
  Bytes rounding = kept.rounding;
  for (int i = kept.first; i < kept.last; ++i) {
    const Weight& buffer = weights_[i];
    rounding +=
        buffer.count * BlockRounding(buffer.bytes * values[buffer.basis]);
  }
  return rounding;
}

TransformersLaw::Totals TransformersLaw::PlainTotals(
    const Values& values) const {
  // Sums first: rounding is needed only where it may decide.
  std::array<double, kMostColumns> sums;
  const double* row = matrix_.data();
  for (int first = 0; first < column_count_; first += kColumns) {
    // The first row is kOne's.
    Pair a = LoadPair(row);
    Pair b = LoadPair(row + 2);
    Pair c = LoadPair(row + 4);
    Pair d = LoadPair(row + 6);
    row += kColumns;
    for (const int basis : used_) {
      const auto value = static_cast<double>(values[basis]);
      a += value * LoadPair(row);
      b += value * LoadPair(row + 2);
      c += value * LoadPair(row + 4);
      d += value * LoadPair(row + 6);
      row += kColumns;
    }
    StorePair(a, &sums[first]);
    StorePair(b, &sums[first + 2]);
    StorePair(c, &sums[first + 4]);
    StorePair(d, &sums[first + 6]);
  }
  const int count = static_cast<int>(kept_.size());
  int binding = -1;
  double most = -1;
  for (int i = 0; i < count; ++i) {
    if (sums[i] <= most) continue;
    most = sums[i];
    binding = i;
  }
  Bytes transient = 0;
  if (count > 0) {
    transient =
        static_cast<Bytes>(most) + PlainRounding(kept_[binding], values);
  }
  for (int i = 0; i < count; ++i) {
    const auto sum = static_cast<Bytes>(sums[i]);
    if (sum + kept_[i].most_rounding <= transient || i == binding) continue;
    transient = std::max(transient, sum + PlainRounding(kept_[i], values));
  }
  double fixed = 0;
  for (int i = count; i < column_count_; ++i) fixed = std::max(fixed, sums[i]);
  Bytes largest = 0;
  for (const Weight& buffer : largest_) {
    largest = std::max(largest, buffer.bytes * values[buffer.basis]);
  }
  return {transient, largest, static_cast<Bytes>(fixed)};
}

Bytes TransformersLaw::Rounding(const Moment& moment, const Values& values) {
  Bytes rounding = 0;
  for (const Buffer& buffer : moment.buffers) {
    const Bytes one =
        SatMul(buffer.bytes, values[static_cast<int>(buffer.basis)]);
    // Nothing to round where it is saturated.
    if (one > kBytesMax - (Bytes{2} << 20)) continue;
    rounding += buffer.count * BlockRounding(one);
  }
  return rounding;
}

Bytes TransformersLaw::ResidentOf(const StepQuery& step) const {
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
      if (options_.sdpa_kernel == SdpaKernel::kEfficient) name += "_efficient";
      if (options_.sdpa_kernel == SdpaKernel::kMath) name += "_math";
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
