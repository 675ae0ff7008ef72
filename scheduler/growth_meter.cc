// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/growth_meter.h"

#include <algorithm>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// A short chunk's growth is mostly pages and buffers of one size, not tokens.
constexpr Tokens kTokensMin = 128;
// Below this, page rounding of a chunk looks like a slope.
constexpr Bytes kExtraMin = 64;

}  // namespace

void GrowthMeter::Add(Tokens tokens, Bytes grown, Bytes priced) {
  if (tokens < kTokensMin) return;
  if (extra_.size() == kSamples) extra_.erase(extra_.begin());
  extra_.push_back((grown - priced) / tokens);
}

Bytes GrowthMeter::ExtraPerToken() const {
  if (extra_.size() < kSamplesMin) return 0;
  auto sorted = extra_;
  std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2,
                   sorted.end());
  const Bytes median = sorted[sorted.size() / 2];
  return median < kExtraMin ? 0 : median;
}

}  // namespace tidegate::internal
