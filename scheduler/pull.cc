// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Actions of the core become a queue of work; what ends a request becomes an
// Answer; a wake becomes a moment. The core asks anew for its wake at every
// event that it accepts, so the last one is the only one.

#include "tidegate/pull.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "tidegate/status.h"

namespace tidegate {
namespace {

class Puller final : public PullScheduler {
 public:
  Puller(std::unique_ptr<Scheduler> scheduler, DecisionObserver observer)
      : scheduler_(std::move(scheduler)), observer_(std::move(observer)) {}

  absl::Status Submit(const Arrive& arrive, Instant now) override {
    return Handle(arrive, now);
  }

  absl::Status Cancel(RequestId id, Instant now) override {
    return Handle(tidegate::Cancel{id}, now);
  }

  std::optional<Work> Next(Instant now) override {
    if (work_.empty() && wake_.has_value() && *wake_ <= std::max(now, now_)) {
      // Once a call: a core that asked for the same moment again would not
      // hold the caller here.
      const absl::Status woken = Handle(Wake{}, now);
      TG_CHECK(woken.ok());
    }
    if (work_.empty()) return std::nullopt;
    Work next = std::move(work_.front());
    work_.pop_front();
    return next;
  }

  std::optional<Instant> NextWake() const override { return wake_; }

  absl::Status Complete(StepId step, const StepOutcome& outcome,
                        Instant now) override {
    const StepMeasurement& measured = outcome.measured();
    switch (outcome.kind()) {
      case StepOutcome::Kind::kDone: {
        // Before what their memory makes possible for others.
        const std::size_t queued = work_.size();
        for (const DecodeResult& result : measured.decodes) {
          if (!result.finished) continue;
          work_.push_back(
              Answer{.id = result.id, .outcome = Outcome::kFinished});
        }
        const absl::Status status =
            Handle(StepDone{.step = step,
                            .peak_bytes = measured.peak_bytes,
                            .live_bytes = measured.live_bytes,
                            .took = measured.took,
                            .decodes = measured.decodes},
                   now);
        if (!status.ok()) work_.resize(queued, Answer{});
        return status;
      }
      case StepOutcome::Kind::kOutOfMemory:
        return Handle(
            StepFailed{.step = step, .why = StepFailure::kOutOfMemory}, now);
      case StepOutcome::Kind::kFailed:
        break;
    }
    return Handle(StepFailed{.step = step, .why = StepFailure::kOther}, now);
  }

  absl::Status CompleteReclaim(ReclaimId reclaim, Bytes freed,
                               Instant now) override {
    return Handle(ReclaimDone{.reclaim = reclaim, .freed_bytes = freed}, now);
  }

  absl::Status Decoded(RequestId id, Tokens tokens, Instant now) override {
    return Handle(DecodeProgress{.id = id, .tokens = tokens}, now);
  }

  absl::Status Finish(RequestId id, Instant now) override {
    // Before what its memory makes possible for others.
    work_.push_back(Answer{.id = id, .outcome = Outcome::kFinished});
    const std::size_t at = work_.size() - 1;
    absl::Status status = Handle(Finished{id}, now);
    if (!status.ok()) work_.erase(work_.begin() + at);
    return status;
  }

  absl::Status Tell(const Fact& fact, Instant now) override {
    return std::visit([&](const auto& f) { return Handle(f, now); }, fact);
  }

  SchedulerStats Stats() const override { return scheduler_->Stats(); }
  const Estimator& Prices() const override { return scheduler_->Prices(); }

 private:
  absl::Status Handle(const Event& event, Instant now) {
    now_ = std::max(now_, now);
    std::vector<Action> actions;
    TG_RETURN_IF_ERROR(scheduler_->Handle(event, now_, &actions));
    if (observer_) observer_({now_, event, actions, scheduler_->Stats()});
    wake_.reset();
    for (Action& action : actions) {
      std::visit([this](auto& a) { Queue(std::move(a)); }, action);
    }
    return absl::OkStatus();
  }

  template <typename T>
  void Queue(T action) {
    work_.push_back(std::move(action));
  }
  void Queue(WakeAt wake) { wake_ = wake.when; }
  void Queue(Cancelled cancelled) {
    work_.push_back(Answer{.id = cancelled.id, .outcome = Outcome::kCancelled});
  }
  void Queue(Reject reject) {
    work_.push_back(
        Answer{.id = reject.id,
               .outcome = Outcome::kRejected,
               .code = reject.code,
               .reason = std::move(reject.reason),
               .arithmetic = reject.arithmetic,
               .largest_prompt_that_fits = reject.largest_prompt_that_fits});
  }

  const std::unique_ptr<Scheduler> scheduler_;
  const DecisionObserver observer_;
  std::deque<Work> work_;
  std::optional<Instant> wake_;
  Instant now_{};
};

}  // namespace

StepOutcome::StepOutcome(Kind kind, StepMeasurement measured,
                         std::string detail)
    : kind_(kind), measured_(measured), detail_(std::move(detail)) {}

StepOutcome StepOutcome::Done(StepMeasurement measured) {
  return StepOutcome(Kind::kDone, measured, "");
}

StepOutcome StepOutcome::OutOfMemory(std::string detail) {
  return StepOutcome(Kind::kOutOfMemory, {}, std::move(detail));
}

StepOutcome StepOutcome::Failed(std::string detail) {
  return StepOutcome(Kind::kFailed, {}, std::move(detail));
}

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kFinished:
      return "finished";
    case Outcome::kRejected:
      return "rejected";
    case Outcome::kCancelled:
      break;
  }
  return "cancelled";
}

absl::StatusOr<std::unique_ptr<PullScheduler>> PullScheduler::Create(
    SchedulerOptions options, DecisionObserver observer) {
  TG_ASSIGN_OR_RETURN(auto scheduler, Scheduler::Create(std::move(options)));
  return std::unique_ptr<PullScheduler>(
      std::make_unique<Puller>(std::move(scheduler), std::move(observer)));
}

}  // namespace tidegate
