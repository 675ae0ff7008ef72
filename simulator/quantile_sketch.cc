// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/quantile_sketch.h"

#include <cmath>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

// Of a value above 0: its power of two, and where it lies on the way to the
// next.
std::int64_t BucketOf(double value) {
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);  // from 0.5 to 1
  const auto within = static_cast<std::int64_t>((2 * fraction - 1) *
                                                QuantileSketch::kPerOctave);
  return std::int64_t{exponent} * QuantileSketch::kPerOctave + within;
}

double MiddleOf(std::int64_t bucket) {
  const std::int64_t within =
      ((bucket % QuantileSketch::kPerOctave) + QuantileSketch::kPerOctave) %
      QuantileSketch::kPerOctave;
  const auto exponent =
      static_cast<int>((bucket - within) / QuantileSketch::kPerOctave);
  const double share =
      (static_cast<double>(within) + 0.5) / QuantileSketch::kPerOctave;
  return std::ldexp((1 + share) / 2, exponent);
}

}  // namespace

void QuantileSketch::Add(double value) {
  TG_CHECK(value >= 0 && std::isfinite(value));
  ++count_;
  if (count_ <= static_cast<std::int64_t>(kExact)) {
    values_.push_back(value);
    return;
  }
  for (const double kept : values_) Count(kept);
  values_ = {};
  Count(value);
}

void QuantileSketch::Count(double value) {
  if (value > 0) {
    ++buckets_[BucketOf(value)];
  } else {
    ++zeros_;
  }
}

Percentiles QuantileSketch::Get() const {
  if (count_ <= static_cast<std::int64_t>(kExact)) {
    return PercentilesOf(values_);
  }
  const auto at = [this](std::int64_t percent) {
    return AtRank(CeilDiv(count_ * percent, std::int64_t{100}));
  };
  return {.p50 = at(50), .p90 = at(90), .p99 = at(99)};
}

double QuantileSketch::AtRank(std::int64_t rank) const {
  std::int64_t seen = zeros_;
  if (rank <= seen) return 0;
  for (const auto& [bucket, count] : buckets_) {
    seen += count;
    if (rank <= seen) return MiddleOf(bucket);
  }
  TG_CHECK(false);  // no rank is beyond the count
  return 0;
}

}  // namespace tidegate::internal
