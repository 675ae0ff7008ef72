// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A fixture that sends events to a scheduler one by one and remembers the step
// that runs.

#ifndef TIDEGATE_TESTS_TESTING_HAND_DRIVEN_SCHEDULER_H_
#define TIDEGATE_TESTS_TESTING_HAND_DRIVEN_SCHEDULER_H_

#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/small_device.h"
#include "tidegate/scheduler.h"

namespace tidegate::testing {

// A scheduler on a small device, driven by hand.
class HandDrivenScheduler : public ::testing::Test {
 protected:
  // Made of options_ when it is first asked for.

  Scheduler& scheduler() {
    if (scheduler_ == nullptr) {
      auto created = Scheduler::Create(options_);
      EXPECT_THAT(created, IsOk());
      scheduler_ = std::move(created).value();
    }
    return *scheduler_;
  }

  // The next one is a new one.
  void Restart() {
    scheduler_.reset();
    running_.reset();
  }

  // The actions that the event led to.
  std::vector<Action> Send(const Event& event) {
    std::vector<Action> actions;
    EXPECT_THAT(scheduler().Handle(event, now_, &actions), IsOk());
    Remember(actions);
    return actions;
  }
  absl::Status Refused(const Event& event) {
    std::vector<Action> actions;
    const absl::Status status = scheduler().Handle(event, now_, &actions);
    EXPECT_THAT(actions, ::testing::IsEmpty());
    return status;
  }
  std::vector<Action> Submit(RequestId id, Tokens prompt, Tokens output = 0) {
    return Send(Arrive{
        .id = id,
        .request = {.prompt_tokens = prompt, .max_output_tokens = output}});
  }
  // Answers the running step.
  std::vector<Action> Done(std::optional<Bytes> live = std::nullopt) {
    EXPECT_TRUE(running_.has_value());
    const StepId step = running_->step;
    running_.reset();
    StepDone done{.step = step};
    if (live.has_value()) done.live_bytes = {*live};
    return Send(done);
  }
  std::vector<Action> Fail(StepFailure why = StepFailure::kOutOfMemory) {
    const StepId step = running_->step;
    running_.reset();
    return Send(StepFailed{.step = step, .why = why});
  }
  void Advance(Duration by) { now_ += by; }

  template <typename T>
  static std::vector<T> Of(const std::vector<Action>& actions) {
    std::vector<T> found;
    for (const Action& action : actions) {
      if (const T* t = std::get_if<T>(&action)) found.push_back(*t);
    }
    return found;
  }

  std::shared_ptr<FakeEstimator> estimator_ = SmallEstimator();
  SchedulerOptions options_ = SmallDevice(estimator_);
  std::optional<RunStep> running_;
  Instant now_{};

 private:
  void Remember(const std::vector<Action>& actions) {
    for (const RunStep& run : Of<RunStep>(actions)) {
      EXPECT_FALSE(running_.has_value()) << "two steps at once";
      running_ = run;
    }
  }
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace tidegate::testing

#endif  // TIDEGATE_TESTS_TESTING_HAND_DRIVEN_SCHEDULER_H_
