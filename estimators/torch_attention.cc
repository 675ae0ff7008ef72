// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/torch_attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Query rows of one thread block (kBlockM of the split kernel).
constexpr std::int64_t kBlockM = 64;

// From this many key blocks on every split count up to 128 is eligible:
// ceil(b / k) differs from ceil(b / (k - 1)) whenever b >= k (k - 1). The
// answer no longer depends on the kv length.
constexpr std::int64_t kKeyBlocksMax = 128 * 127;

// A split count that leaves the longest split as it was is not tried.
bool Eligible(std::uint32_t key_blocks, std::uint32_t splits) {
  if (splits == 1) return true;
  const auto longest = [&](std::uint32_t k) {
    return (key_blocks + k - 1) / k;
  };
  return longest(splits) != longest(splits - 1);
}

// Appends the v of (lo, hi] among first, first + step, … up to `last`.
template <typename Wanted>
void AppendSteps(Tokens first, Tokens step, Tokens last, Tokens lo, Tokens hi,
                 const Wanted& wanted, std::vector<Tokens>* out) {
  last = std::min(last, hi);
  if (first <= lo) first += CeilDiv(lo + 1 - first, step) * step;
  for (Tokens v = first; v <= last; v += step) {
    if (wanted(v)) out->push_back(v);
  }
}

void SortUnique(std::size_t from, std::vector<Tokens>* out) {
  std::sort(out->begin() + static_cast<std::ptrdiff_t>(from), out->end());
  out->erase(
      std::unique(out->begin() + static_cast<std::ptrdiff_t>(from), out->end()),
      out->end());
}

}  // namespace

TorchPartNames MakeTorchPartNames(std::string_view prefix) {
  const std::string name(prefix);
  return {.call = name,
          .mask = name + ".mask",
          .scores = name + ".scores",
          .softmax = name + ".softmax",
          .output = name + ".output"};
}

FlashSplits::FlashSplits(std::int64_t q_heads, std::int64_t kv_heads,
                         std::int64_t head_dim, std::int64_t sm_count)
    : q_heads_(q_heads),
      kv_heads_(kv_heads),
      block_n_(head_dim <= 64    ? 256
               : head_dim <= 128 ? 128
                                 : 64),
      slots_(2 * sm_count) {
  TG_CHECK(q_heads >= 1 && kv_heads >= 1 && head_dim >= 1 && sm_count >= 1);
  const auto make_row = [&](std::int64_t query_blocks) {
    Row row;
    for (int k = 1; k <= kMaxSplits; ++k) {
      // In float, as the original: ties must fall the same way.
      const float waves =
          static_cast<float>(query_blocks * k) / static_cast<float>(slots_);
      row.efficiency[k - 1] = waves / std::ceil(waves);
    }
    std::iota(std::begin(row.by_efficiency), std::end(row.by_efficiency), 0);
    std::stable_sort(
        std::begin(row.by_efficiency), std::end(row.by_efficiency),
        [&](int a, int b) { return row.efficiency[a] > row.efficiency[b]; });
    return row;
  };
  const float enough = 0.8f * static_cast<float>(slots_);
  for (std::int64_t blocks = q_heads; static_cast<float>(blocks) < enough;
       blocks += q_heads) {
    rows_.push_back(make_row(blocks));
  }
  if (q_heads > kv_heads) {
    decode_blocks_ = kv_heads * CeilDiv(q_heads / kv_heads, kBlockM);
    if (static_cast<float>(decode_blocks_) < enough) {
      decode_rows_.push_back(make_row(decode_blocks_));
    }
  }
}

std::int64_t FlashSplits::QueryBlocks(Tokens n) const {
  // A single query of grouped heads is laid out as group queries of kv_heads
  // heads (seqlenq_ngroups_swapped).
  if (n == 1 && q_heads_ > kv_heads_) return decode_blocks_;
  return SatMul(q_heads_, CeilDiv(n, kBlockM));
}

const FlashSplits::Row* FlashSplits::FindRow(std::int64_t query_blocks) const {
  if (query_blocks % q_heads_ != 0) {
    return decode_rows_.empty() ? nullptr : decode_rows_.data();
  }
  const auto index = static_cast<std::size_t>(query_blocks / q_heads_ - 1);
  return index < rows_.size() ? &rows_[index] : nullptr;
}

std::int64_t FlashSplits::Count(Tokens n, Tokens kv_len) const {
  const std::int64_t query_blocks = QueryBlocks(n);
  const Row* row = FindRow(query_blocks);
  if (row == nullptr) return 1;
  const auto key_blocks = static_cast<std::uint32_t>(
      std::min(CeilDiv(kv_len, block_n_), kKeyBlocksMax));
  const auto most = static_cast<std::uint32_t>(
      std::min({std::int64_t{kMaxSplits}, slots_, std::int64_t{key_blocks}}));
  float best = 0;
  for (const std::uint8_t index : row->by_efficiency) {
    const std::uint32_t k = index + 1u;
    if (k <= most && Eligible(key_blocks, k)) {
      best = row->efficiency[index];
      break;
    }
  }
  // The fewest splits within 85 % of the best. Within the first wave the
  // efficiency is query_blocks * k / slots, so fewer than this cannot reach it.
  const double wanted = 0.85 * static_cast<double>(best);
  auto k = static_cast<std::uint32_t>(wanted * static_cast<double>(slots_) /
                                      static_cast<double>(query_blocks));
  for (k = std::max(k, 1u); k <= most; ++k) {
    if (static_cast<double>(row->efficiency[k - 1]) >= wanted &&
        Eligible(key_blocks, k)) {
      return k;
    }
  }
  return 1;
}

void FlashSplits::Breakpoints(Axis axis, Tokens fixed, Tokens lo, Tokens hi,
                              std::vector<Tokens>* out) const {
  const std::size_t from = out->size();
  // The last n with a table: beyond it there is one split.
  const Tokens n_last =
      SatAdd(SatMul(static_cast<Tokens>(rows_.size()), kBlockM), 1);
  const Tokens kv_last = SatAdd(SatMul(kKeyBlocksMax, block_n_), 1);
  const auto falls = [&](Tokens n, Tokens kv_len, Tokens n_before,
                         Tokens kv_before) {
    return Count(n, kv_len) < Count(n_before, kv_before);
  };
  if (axis == Axis::kKvLen) {
    AppendSteps(
        block_n_ + 1, block_n_, kv_last, std::max(lo, fixed), hi,
        [&](Tokens v) { return falls(fixed, v, fixed, v - 1); }, out);
    return;
  }
  const Tokens start = axis == Axis::kChunk ? fixed : 0;
  const auto kv_len = [&](Tokens n) {
    return axis == Axis::kChunk ? SatAdd(start, n) : fixed;
  };
  const auto chunk_falls = [&](Tokens n) {
    return n >= 2 && falls(n, kv_len(n), n - 1, kv_len(n - 1));
  };
  // From one query to two, grouped heads change their layout.
  if (q_heads_ > kv_heads_ && lo < 2 && hi >= 2) out->push_back(2);
  AppendSteps(kBlockM + 1, kBlockM, n_last, lo, hi, chunk_falls, out);
  if (axis == Axis::kChunk) {
    const Tokens first = block_n_ + 1 - start % block_n_;
    AppendSteps(first, block_n_, n_last, lo, hi, chunk_falls, out);
  }
  SortUnique(from, out);
}

void TorchCallBreakpoints(TorchKernel kernel, MaskKind mask, Axis axis,
                          Tokens fixed, Tokens lo, Tokens hi,
                          std::vector<Tokens>* out) {
  const std::size_t from = out->size();
  const auto always = [](Tokens) { return true; };
  const auto add = [&](Tokens v) {
    if (v > lo && v <= hi) out->push_back(v);
  };
  if (mask == MaskKind::kLowerRight) {
    if (axis == Axis::kN) add(fixed);
    if (axis == Axis::kKvLen) add(SatAdd(fixed, 1));
  }
  const bool padded = mask == MaskKind::kBool || mask == MaskKind::kFloat ||
                      mask == MaskKind::kArray;
  if (kernel == TorchKernel::kEfficient && padded && axis != Axis::kN) {
    // Both axes move the kv length by one: it is a multiple of 8 here.
    const Tokens shift = axis == Axis::kChunk ? fixed % 8 : 0;
    AppendSteps(8 - shift, 8, hi, lo, hi, always, out);
  }
  SortUnique(from, out);
}

}  // namespace tidegate::internal
