// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A number as it was some time ago.

#ifndef TIDEGATE_SIMULATOR_LAGGED_READING_H_
#define TIDEGATE_SIMULATOR_LAGGED_READING_H_

#include <deque>
#include <optional>

#include "tidegate/types.h"

namespace tidegate::internal {

class LaggedReading {
 public:
  LaggedReading(Duration lag, Bytes start)
      : lag_(lag), seen_{{Instant::min(), start}} {}

  // The number is `value` from `at` on; moments never descend, and the last
  // value of one moment counts.
  void Note(Instant at, Bytes value) {
    if (seen_.back().at == at) seen_.pop_back();
    if (seen_.empty() || seen_.back().value != value) {
      seen_.push_back({at, value});
    }
  }

  // What a reader is told at `now`.
  Bytes At(Instant now) {
    while (seen_.size() > 1 && seen_[1].at + lag_ <= now) seen_.pop_front();
    return seen_.front().value;
  }

  // When At() changes next by itself; nothing while all is told.
  std::optional<Instant> NextChange() const {
    if (seen_.size() < 2) return std::nullopt;
    return seen_[1].at + lag_;
  }

 private:
  struct Seen {
    Instant at{};
    Bytes value = 0;
  };
  Duration lag_;
  std::deque<Seen> seen_;  // never empty; the first is what is told
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_LAGGED_READING_H_
