// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// PullScheduler: the scheduler for an engine that has a loop of its own.
//
//   auto pull = PullScheduler::Create(std::move(options));
//   (*pull)->Submit({.id = 1, .request = {.prompt_tokens = 9000}}, now);
//   while (engine.running()) {
//     while (auto work = (*pull)->Next(Now())) engine.Do(*work);
//     // … run the step, then:
//     (*pull)->Complete(step, StepOutcome::Done({.live_bytes = live}), Now());
//   }
//
// It is the same scheduler as scheduler.h, with its answers kept in a queue and
// its wakes kept as a moment: no threads, no clock, no callbacks. Call Next()
// until it has nothing more after every other call, and at NextWake() when
// nothing else happens before. Moments may come from several clocks' reads: one
// that lies before the last call's counts as the last call's.
//
// Every Submit() that returned OK is answered by exactly one Answer out of
// Next(), whatever happens in between.
//
// Thread-safety: none; call from one thread or under one lock.

#ifndef TIDEGATE_PULL_H_
#define TIDEGATE_PULL_H_

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/actions.h"
#include "tidegate/decision_log.h"
#include "tidegate/events.h"
#include "tidegate/scheduler.h"
#include "tidegate/types.h"

namespace tidegate {

// What a step measured. Unset means unknown, which is not zero.
struct StepMeasurement {
  // One entry per device or rank; empty: unknown.
  std::vector<Bytes> peak_bytes;  // device peak while it ran
  std::vector<Bytes> live_bytes;  // device live bytes after it
  std::optional<Duration> took;
  // As StepDone::decodes.
  std::vector<DecodeResult> decodes;
};

// How a step ended. Made by the three functions, so that a failure cannot carry
// measurements and a success no reason.
class StepOutcome {
 public:
  enum class Kind { kDone, kOutOfMemory, kFailed };

  static StepOutcome Done(StepMeasurement measured = {});
  // The device had too little memory; nothing of the step is left behind. The
  // scheduler tries a narrower chunk.
  static StepOutcome OutOfMemory(std::string detail = "");
  // Any other failure that left nothing behind. Retried after a pause, and
  // given up after several in a row.
  static StepOutcome Failed(std::string detail = "");

  Kind kind() const { return kind_; }
  const StepMeasurement& measured() const { return measured_; }
  const std::string& detail() const { return detail_; }

 private:
  StepOutcome(Kind kind, StepMeasurement measured, std::string detail);
  Kind kind_;
  StepMeasurement measured_;
  std::string detail_;
};

// How a request ends: each in exactly one of these.
enum class Outcome { kFinished, kRejected, kCancelled };
std::string_view OutcomeName(Outcome outcome);  // "finished", …

// The end of a request. When it had been admitted and did not finish, what it
// holds on the device is to be freed now.
struct Answer {
  RequestId id = 0;
  Outcome outcome = Outcome::kFinished;
  // Of a rejection: why, in words and in numbers.
  RefusalCode code = RefusalCode::kNone;
  std::string reason;
  Arithmetic arithmetic;
  Tokens largest_prompt_that_fits = 0;
};

// What to do next, in the order in which Next() says it:
//   Admit        the request holds a claim; pin its cached prefix
//   RunStep      run it, then Complete()
//   Reclaim      free memory, then CompleteReclaim()
//   Preempt      drop the request's KV; it comes back with another Admit
//   StartDecode  decode it: Decoded() and Finish() from now on
//   Answer       tell the client
using Work =
    std::variant<Admit, RunStep, Reclaim, Preempt, StartDecode, Answer>;

// What the engine may tell besides the answers to work.
using Fact =
    std::variant<MemoryReading, CeilingChanged, Reclaimable, ReleasePending,
                 Released, PrefixChanged, Observe, DecodeFailed, PolicyChanged>;

class PullScheduler {
 public:
  // InvalidArgument names the option. `observer`, where there is one, sees
  // every decision, for a log or a timeline.
  static absl::StatusOr<std::unique_ptr<PullScheduler>> Create(
      SchedulerOptions options, DecisionObserver observer = nullptr);
  virtual ~PullScheduler() = default;

  // A refused request is OK here and answered by Next(). AlreadyExists: a
  // request with this id has not ended; it goes on undisturbed.
  virtual absl::Status Submit(const Arrive& arrive, Instant now) = 0;

  // At any point of a request's life. The Answer comes at once, or when the
  // request's running step ends. NotFound: it has ended already.
  // AlreadyExists: it is being cancelled.
  virtual absl::Status Cancel(RequestId id, Instant now) = 0;

  // The next thing to do; nullopt: nothing until another call or NextWake().
  virtual std::optional<Work> Next(Instant now) = 0;

  // When to call Next() though nothing else happened; nullopt: not at all.
  virtual std::optional<Instant> NextWake() const = 0;

  // The running step ended. NotFound: this step does not run; nothing changes.
  virtual absl::Status Complete(StepId step, const StepOutcome& outcome,
                                Instant now) = 0;

  // The reclaim ended and freed so much, possibly 0. Tell() a MemoryReading
  // first: that is what shows the room.
  virtual absl::Status CompleteReclaim(ReclaimId reclaim, Bytes freed,
                                       Instant now) = 0;

  // Decoding added so many tokens (at least 1), or ended. FailedPrecondition:
  // the request does not decode, since it was preempted or never started.
  virtual absl::Status Decoded(RequestId id, Tokens tokens, Instant now) = 0;
  virtual absl::Status Finish(RequestId id, Instant now) = 0;

  // InvalidArgument names the field; nothing changes then.
  virtual absl::Status Tell(const Fact& fact, Instant now) = 0;

  virtual SchedulerStats Stats() const = 0;
  // As Scheduler::Prices().
  virtual const Estimator& Prices() const = 0;
};

}  // namespace tidegate

#endif  // TIDEGATE_PULL_H_
