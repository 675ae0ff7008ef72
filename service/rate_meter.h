// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// How many prompt tokens a second the engine computes while a step runs.

#ifndef TIDEGATE_SERVICE_RATE_METER_H_
#define TIDEGATE_SERVICE_RATE_METER_H_

#include <optional>

#include "tidegate/types.h"

namespace tidegate::internal {

// Thread-safety: none.
class RateMeter {
 public:
  void Add(Tokens tokens, Duration took) {
    if (tokens <= 0 || took <= Duration::zero()) return;
    tokens_ += static_cast<double>(tokens);
    seconds_ += std::chrono::duration<double>(took).count();
    if (seconds_ > kWindowSeconds) {
      tokens_ /= 2;
      seconds_ /= 2;
    }
  }

  std::optional<double> TokensPerSecond() const {
    if (seconds_ <= 0) return std::nullopt;
    return tokens_ / seconds_;
  }

  // How long so many tokens take, in whole milliseconds, rounded up; an hour at
  // most: beyond that a client should ask somebody else.
  std::optional<Duration> TimeFor(Tokens tokens) const {
    if (seconds_ <= 0) return std::nullopt;
    constexpr double kLongestMs = 3'600'000;
    const double ms = static_cast<double>(tokens) * seconds_ / tokens_ * 1000;
    if (ms >= kLongestMs) return std::chrono::hours(1);
    return std::chrono::milliseconds(static_cast<std::int64_t>(ms) + 1);
  }

 private:
  // Older steps fade by half whenever this much of step time has passed: long
  // enough for several prompts, short enough to follow a change of load.
  static constexpr double kWindowSeconds = 60;
  double tokens_ = 0;
  double seconds_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SERVICE_RATE_METER_H_
