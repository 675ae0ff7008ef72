// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads the driver's event log back into decisions: its lines are what the
// driver shows of a run, whoever looks.

#ifndef TIDEGATE_SIMULATOR_EVENT_LOG_READER_H_
#define TIDEGATE_SIMULATOR_EVENT_LOG_READER_H_

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tidegate/decision_log.h"
#include "tidegate/scheduler.h"

namespace tidegate::internal {

// For lines of EventLine() and ActionLine(), in order; others are a broken
// promise of ours. What the log leaves out (tenants, spans, the terms of a
// refusal) has its default.
//
// Thread-safety: none.
class EventLogReader {
 public:
  explicit EventLogReader(DecisionObserver observer)
      : observer_(std::move(observer)) {}

  // Where the statistics of decisions come from; they are zero without.
  void Watch(const Scheduler* scheduler) { scheduler_ = scheduler; }

  // A decision is told when the next event or the end shows that it had no
  // further actions, which is before anything else happens.
  void Read(std::string_view line);
  void Finish();

 private:
  const DecisionObserver observer_;
  const Scheduler* scheduler_ = nullptr;
  Instant now_{};
  std::optional<Event> event_;
  std::vector<Action> actions_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_EVENT_LOG_READER_H_
