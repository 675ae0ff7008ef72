// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Which share of their output budget requests use.
//
// Clients ask for far more tokens than they get; admission `optimistic` counts
// on that. The share is that of the last requests together, and a tenth more;
// until some have ended it is the whole budget.
//
// Thread-safety: none.

#ifndef TIDEGATE_SCHEDULER_OUTPUT_METER_H_
#define TIDEGATE_SCHEDULER_OUTPUT_METER_H_

#include <algorithm>
#include <boost/container/static_vector.hpp>
#include <cstdint>

#include "tidegate/types.h"

namespace tidegate::internal {

class OutputMeter {
 public:
  void Add(Tokens budget, Tokens used) {
    if (budget < 1) return;
    if (samples_.size() == kSamples) samples_.erase(samples_.begin());
    samples_.push_back({budget, std::min(budget, used)});
  }

  std::int64_t SharePermille() const {
    if (samples_.size() < kSamplesMin) return 1000;
    Tokens budget = 0;
    Tokens used = 0;
    for (const Sample& sample : samples_) {
      budget = SatAdd(budget, sample.budget);
      used = SatAdd(used, sample.used);
    }
    return std::min<std::int64_t>(
        1000, SatMul(used, std::int64_t{1100}) / budget + 1);
  }

 private:
  static constexpr std::size_t kSamples = 64;
  static constexpr std::size_t kSamplesMin = 8;
  struct Sample {
    Tokens budget = 0;
    Tokens used = 0;
  };
  boost::container::static_vector<Sample, kSamples> samples_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_OUTPUT_METER_H_
