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
#include <optional>
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

// What the engine can put into one forward pass, and how many it takes at once.
struct StepShape {
  enum class Decode {
    kEngine,   // it decodes by itself, and sends DecodeProgress
    kMixed,    // decode tokens ride along with chunks (RunStep::decodes)
    kBetween,  // they are steps of their own, one between two chunks
    // They are steps of their own, and only where no chunk can run: prefill
    // first. As long as prompts arrive, nobody who decodes goes on.
    kLast,
  };
  // Prompts in one step. 1: one sequence at a time.
  std::int64_t sequences = 1;
  Decode decode = Decode::kEngine;
  // Whether decode tokens are part of steps: RunStep::decodes.
  bool DecodesInSteps() const { return decode != Decode::kEngine; }
  // Query tokens in one step, decode tokens included, never to be exceeded. 0:
  // chunks of chunk.max tokens together, and decode tokens beside them.
  Tokens tokens = 0;
  // Sequences that decode in one step; 0: all that do.
  std::int64_t decodes = 0;
  // Steps that run at once, as in a pipeline: their transients add. A request
  // is in one of them at a time.
  std::int64_t in_flight = 1;
};

// KV that the engine reserved when it started, in blocks: a budget beside the
// bytes. `memory.base` counts the pool; sequences take blocks of it and add no
// bytes. Blocks of a cached prefix that the engine could evict count as free.
struct KvPoolOptions {
  std::int64_t blocks = 0;  // 0: KV is allocated as sequences grow
  Tokens block_tokens = 16;
  friend bool operator==(const KvPoolOptions&, const KvPoolOptions&) = default;
};

// One device of several that run every step together.
struct RankLimits {
  Bytes ceiling = 0;
  Bytes base = 0;
};

struct SchedulerOptions {
  std::shared_ptr<const Estimator> estimator;
  // Correct prices by measured peaks (StepDone::peak_bytes, Observe), within
  // bounds of the estimator's.
  bool calibrate = false;
  MemoryLimits memory;
  // Where several devices hold equal shares of every step (tensor parallelism)
  // and differ in what else they hold: one entry each. Their ceilings and bases
  // replace those of `memory`, prices are those of one device, and the one with
  // the least room decides. Empty: one device, or several alike.
  std::vector<RankLimits> ranks;
  KvPoolOptions kv_pool;
  ChunkLimits chunk;
  StepShape step;
  std::string chunk_policy = "throttle";
  // Longest step while requests decode; zero: no limit.
  Duration decode_stall{};
  // How long steps take until enough of them were measured; unset: unknown.
  std::optional<TimeModel> time;
  // How old readings of live memory may be. What requests grew by in that time
  // may not be in them yet.
  Duration reading_lag{};
  std::string admission_policy = "reserve";
  std::string order_policy = "fcfs";
  std::string pressure_policy = "cheapest";
  // Policies that are not built in: each replaces the one that is named. They
  // are asked from the thread that calls the scheduler.
  std::shared_ptr<const ChunkPolicy> custom_chunk;
  std::shared_ptr<const AdmissionPolicy> custom_admission;
  std::shared_ptr<const OrderPolicy> custom_order;
  std::shared_ptr<const PressurePolicy> custom_pressure;
  // What is freed when memory is short, cheapest to rebuild first.
  std::vector<std::string> ladder = {"pool", "cache", "model", "preempt"};
  // Requests waiting at once; one more is rejected as overloaded. 0: no limit.
  std::int64_t queue_max = 0;
  // Requests admitted at once, those that decode included: an engine's state
  // slots. 0: no limit.
  std::int64_t running_max = 0;
};

// What a policy file asks for, over this estimator. Defaults fill what the file
// leaves open; `base` is live memory before any request where the file does not
// say. InvalidArgument when the ceiling is missing.
absl::StatusOr<SchedulerOptions> MakeSchedulerOptions(
    const PolicyFile& policy, std::shared_ptr<const Estimator> estimator,
    Bytes base);

// Every byte of the device that decides, each counted once:
//
//   live = kv + side + reclaimable + pending_release + other
//
// What is promised and what steps in flight need lies beyond `live`.
struct MemoryClasses {
  Bytes live = 0;
  Bytes kv = 0;    // priced bytes that admitted requests hold
  Bytes side = 0;  // measured growth of theirs that no price knows
  // What reclaim would free: pools, caches, idle models.
  Bytes reclaimable = 0;
  // Freed, or announced as on its way out, and not seen gone.
  Bytes pending_release = 0;
  // The rest: weights, other programs. Below zero where requests hold less than
  // they were charged.
  Bytes other = 0;

  Bytes claims = 0;     // promised, not live yet
  Bytes in_flight = 0;  // transients and growth of running steps
  Bytes line = 0;       // ceiling - headroom
};

// The same of the pool, where there is one.
struct KvBlocks {
  std::int64_t total = 0;
  std::int64_t used = 0;    // requests' and others'
  std::int64_t held = 0;    // requests'
  std::int64_t claims = 0;  // promised, not used yet
};

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
  MemoryClasses memory;
  KvBlocks kv_blocks;
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
