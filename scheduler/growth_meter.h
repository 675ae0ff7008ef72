// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How much more memory grows per prompt token than prices say.
//
// Snapshots, write-backs and caches that no formula knows grow with the prompt,
// and kill a device long after admission (a public case: 27 KB per token
// priced, 237 KB grown). So the slope is read off, whatever the estimator says.
// One reading proves nothing, since other programs move memory too: the median
// of the last samples counts, once there are enough.
//
// Thread-safety: none.

#ifndef TIDEGATE_SCHEDULER_GROWTH_METER_H_
#define TIDEGATE_SCHEDULER_GROWTH_METER_H_

#include <boost/container/static_vector.hpp>

#include "tidegate/types.h"

namespace tidegate::internal {

class GrowthMeter {
 public:
  // A chunk of `tokens` tokens grew memory by `grown`, where `priced` was
  // expected.
  void Add(Tokens tokens, Bytes grown, Bytes priced);

  // Bytes per token beyond the price; 0 while too little was seen.
  Bytes ExtraPerToken() const;

 private:
  // An odd number, so that the median is a sample; about a minute of chunks.
  static constexpr std::size_t kSamples = 9;
  // Fewer than this many say nothing.
  static constexpr std::size_t kSamplesMin = 5;

  boost::container::static_vector<Bytes, kSamples> extra_;  // oldest first
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SCHEDULER_GROWTH_METER_H_
