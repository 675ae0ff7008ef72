// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Where a service's decisions go: a log of lines, an observer, both or neither.
// An exception of theirs must not reach the scheduler: its actions would be
// lost.

#ifndef TIDEGATE_SERVICE_DECISION_SINKS_H_
#define TIDEGATE_SERVICE_DECISION_SINKS_H_

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "tidegate/decision_log.h"

namespace tidegate::internal {

// Thread-safety: none; used on the strand.
class DecisionSinks {
 public:
  DecisionSinks(std::function<void(std::string_view)> log,
                DecisionObserver observer)
      : log_(std::move(log)), observer_(std::move(observer)) {}

  bool wanted() const { return log_ != nullptr || observer_ != nullptr; }
  std::int64_t exceptions() const { return exceptions_; }

  void Take(const Decision& decision) {
    // Each on its own: a full disk does not blind the observer.
    Guarded([&] {
      if (log_ && IsDecision(decision)) log_(DecisionLine(decision));
    });
    Guarded([&] {
      if (observer_) observer_(decision);
    });
  }

 private:
  template <typename Call>
  void Guarded(const Call& call) {
    try {
      call();
    } catch (...) {
      ++exceptions_;
    }
  }

  const std::function<void(std::string_view)> log_;
  const DecisionObserver observer_;
  std::int64_t exceptions_ = 0;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SERVICE_DECISION_SINKS_H_
