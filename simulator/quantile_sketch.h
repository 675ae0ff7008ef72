// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Percentiles of values that are not kept.
//
// Up to kExact values they are, and percentiles are those of nearest rank.
// Beyond, values are counted in buckets: DDSketch (Masson, Rim and Lee, VLDB
// 2019) with its linearly interpolated mapping, kPerOctave buckets of equal
// width in each power of two. A percentile is then the middle of the bucket
// that holds the value at its rank, off by at most 1 / (2 kPerOctave) of it.
// Only exact operations on floating numbers decide a bucket, so that the answer
// is the same on every machine.
//
// Thread-safety: none.

#ifndef TIDEGATE_SIMULATOR_QUANTILE_SKETCH_H_
#define TIDEGATE_SIMULATOR_QUANTILE_SKETCH_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "tidegate/simulator.h"

namespace tidegate::internal {

class QuantileSketch {
 public:
  static constexpr std::size_t kExact = 65'536;
  static constexpr int kPerOctave = 512;

  // At least 0 and finite.
  void Add(double value);
  // Zeros of no values.
  Percentiles Get() const;

 private:
  void Count(double value);
  double AtRank(std::int64_t rank) const;

  std::int64_t count_ = 0;
  std::vector<double> values_;  // empty once buckets are used
  std::map<std::int64_t, std::int64_t> buckets_;
  std::int64_t zeros_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_QUANTILE_SKETCH_H_
