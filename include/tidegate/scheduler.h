// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Scheduler: events in, actions out.
//
//   auto scheduler = Scheduler::Create(std::move(options));
//   std::vector<Action> actions;
//   scheduler->Handle(Arrive{.id = 1, .request = {.prompt_tokens = 9000}}, now,
//                     &actions);
//   for (const Action& action : actions) engine.Do(action);
//
// It reads no clock, file or random source and starts no thread. Every request
// that arrives ends in exactly one of: Reject, Finished (from the engine),
// Cancelled. The ledger is zero when nothing is left.
//
// Thread-safety: none; call from one thread or under one lock.

#ifndef TIDEGATE_SCHEDULER_H_
#define TIDEGATE_SCHEDULER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/actions.h"
#include "tidegate/calibration.h"
#include "tidegate/estimator.h"
#include "tidegate/events.h"
#include "tidegate/plan.h"
#include "tidegate/policy.h"
#include "tidegate/policy_file.h"

namespace tidegate {

struct SchedulerOptions {
  std::shared_ptr<const Estimator> estimator;
  // Correct prices by measured peaks (StepDone::peak_bytes, Observe), within
  // bounds of the estimator's.
  bool calibrate = false;
  MemoryLimits memory;
  ChunkLimits chunk;
  std::string chunk_policy = "throttle";
  // Longest step while requests decode; zero: no limit.
  Duration decode_stall{};
  std::string admission_policy = "reserve";
  std::string order_policy = "fcfs";
  // What is freed when memory is short, cheapest to rebuild first.
  std::vector<std::string> ladder = {"pool", "cache", "model", "preempt"};
  // Requests waiting at once; one more is rejected as overloaded. 0: no limit.
  std::int64_t queue_max = 0;
};

// What a policy file asks for, over this estimator. Defaults fill what the file
// leaves open; `base` is live memory before any request where the file does not
// say. InvalidArgument when the ceiling is missing.
absl::StatusOr<SchedulerOptions> MakeSchedulerOptions(
    const PolicyFile& policy, std::shared_ptr<const Estimator> estimator,
    Bytes base);

struct SchedulerStats {
  std::int64_t arrived = 0;
  std::int64_t admitted = 0;
  std::int64_t finished = 0;
  std::int64_t rejected = 0;
  std::int64_t cancelled = 0;
  std::int64_t steps = 0;
  std::int64_t out_of_memory = 0;
  std::int64_t reclaims = 0;
  std::int64_t preemptions = 0;
  std::int64_t waiting = 0;
  // Ledger: bytes promised to admitted requests and bytes they hold.
  Bytes claimed_bytes = 0;
  Bytes resident_bytes = 0;
};

class Scheduler {
 public:
  // InvalidArgument names the option.
  static absl::StatusOr<std::unique_ptr<Scheduler>> Create(
      SchedulerOptions options);
  virtual ~Scheduler() = default;

  // Appends what to do to `actions`. A duplicate, late, unknown or impossible
  // event is refused with a status and changes nothing. `now` may not go back.
  virtual absl::Status Handle(const Event& event, Instant now,
                              std::vector<Action>* actions) = 0;

  virtual SchedulerStats Stats() const = 0;

  // What the scheduler believes a step costs now: its estimator, corrected by
  // what was measured where the options ask for that. Valid until the next
  // Handle().
  virtual const Estimator& Prices() const = 0;

  // What was learned about prices; empty unless the options ask for learning.
  virtual std::vector<CalibrationRoute> Calibration() const = 0;
  // Learns from what another process learned for the same model and engine, as
  // if it had been measured here. InvalidArgument names what a sample lacks,
  // and then nothing is learned; FailedPrecondition unless the options ask for
  // learning.
  virtual absl::Status LoadCalibration(
      const std::vector<CalibrationRoute>& routes) = 0;
};

}  // namespace tidegate

#endif  // TIDEGATE_SCHEDULER_H_
