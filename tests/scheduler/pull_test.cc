// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/pull.h"

#include <cstdio>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/small_device.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::SmallDevice;
using ::tidegate::testing::StatusIs;

constexpr Duration kSecond = std::chrono::seconds(1);

class PullTest : public ::testing::Test {
 protected:
  PullTest() {
    auto created = PullScheduler::Create(SmallDevice());
    EXPECT_THAT(created, IsOk());
    pull_ = std::move(created).value();
  }
  void Submit(RequestId id, Tokens prompt) {
    EXPECT_THAT(
        pull_->Submit({.id = id, .request = {.prompt_tokens = prompt}}, now_),
        IsOk());
  }
  template <typename T>
  T Next() {
    std::optional<Work> work = pull_->Next(now_);
    EXPECT_TRUE(work.has_value());
    T* wanted = work.has_value() ? std::get_if<T>(&*work) : nullptr;
    EXPECT_NE(wanted, nullptr);
    return wanted == nullptr ? T{} : std::move(*wanted);
  }
  void Complete(StepId step, const StepOutcome& outcome = StepOutcome::Done()) {
    EXPECT_THAT(pull_->Complete(step, outcome, now_), IsOk());
  }
  bool Idle() { return !pull_->Next(now_).has_value(); }

  std::unique_ptr<PullScheduler> pull_;
  Instant now_{};
};

TEST_F(PullTest, ARequestGoesFromAdmissionToItsAnswer) {
  Submit(1, 1500);
  EXPECT_EQ(Next<Admit>().claim_bytes, 1500);
  RunStep step = Next<RunStep>();
  EXPECT_EQ(step.chunks[0].n, 1024);
  EXPECT_TRUE(Idle());
  Complete(step.step);
  step = Next<RunStep>();
  EXPECT_EQ(step.chunks[0].n, 476);
  Complete(step.step);
  EXPECT_EQ(Next<StartDecode>().id, 1u);
  EXPECT_THAT(pull_->Decoded(1, 2, now_), IsOk());
  EXPECT_THAT(pull_->Finish(1, now_), IsOk());
  EXPECT_EQ(Next<Answer>().outcome, Outcome::kFinished);
  EXPECT_TRUE(Idle());
  EXPECT_EQ(pull_->Stats().resident_bytes, 0);
}

TEST_F(PullTest, ARefusalIsAnAnswerWithItsArithmetic) {
  Submit(1, 20'000);
  const Answer answer = Next<Answer>();
  EXPECT_EQ(answer.outcome, Outcome::kRejected);
  EXPECT_EQ(answer.code, RefusalCode::kTooLarge);
  EXPECT_EQ(answer.arithmetic.ceiling, 10'000);
  EXPECT_GT(answer.largest_prompt_that_fits, 9000);
}

TEST_F(PullTest, TheAnswerComesBeforeWhatItsMemoryAllows) {
  Submit(1, 1000);
  Next<Admit>();
  Complete(Next<RunStep>().step);
  Next<StartDecode>();
  Submit(2, 9400);
  EXPECT_TRUE(Idle());
  EXPECT_THAT(pull_->Finish(1, now_), IsOk());
  EXPECT_EQ(Next<Answer>().id, 1u);
  EXPECT_EQ(Next<Admit>().id, 2u);
}

TEST_F(PullTest, CancellingDuringAStepAnswersWhenItEnds) {
  Submit(1, 5000);
  Next<Admit>();
  const StepId step = Next<RunStep>().step;
  EXPECT_THAT(pull_->Cancel(1, now_), IsOk());
  EXPECT_TRUE(Idle());
  Complete(step);
  EXPECT_EQ(Next<Answer>().outcome, Outcome::kCancelled);
}

TEST_F(PullTest, AFailedFinishLeavesNoAnswer) {
  Submit(1, 5000);
  Next<Admit>();
  Next<RunStep>();
  EXPECT_THAT(pull_->Finish(1, now_),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("not computed")));
  EXPECT_TRUE(Idle());
}

TEST_F(PullTest, AnUnknownStepIsRefused) {
  EXPECT_THAT(pull_->Complete(9, StepOutcome::Done(), now_),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("step 9")));
}

TEST_F(PullTest, OutOfMemoryIsTriedNarrowerAtOnce) {
  Submit(1, 5000);
  Next<Admit>();
  Complete(Next<RunStep>().step, StepOutcome::OutOfMemory("no room"));
  EXPECT_EQ(Next<RunStep>().chunks[0].n, 512);
  EXPECT_EQ(pull_->Stats().out_of_memory, 1);
}

TEST_F(PullTest, AnotherFailureIsTriedAgainAtNextWake) {
  Submit(1, 5000);
  Next<Admit>();
  Complete(Next<RunStep>().step, StepOutcome::Failed());
  EXPECT_TRUE(Idle());
  const std::optional<Instant> wake = pull_->NextWake();
  ASSERT_TRUE(wake.has_value());
  now_ = *wake - Duration(1);
  EXPECT_TRUE(Idle());
  now_ = *wake;
  EXPECT_EQ(Next<RunStep>().chunks[0].n, 1024);
  EXPECT_EQ(pull_->NextWake(), std::nullopt);
}

TEST_F(PullTest, AMomentBeforeTheLastCountsAsTheLast) {
  now_ += kSecond;
  Submit(1, 1000);
  now_ -= kSecond;
  Next<Admit>();
  Complete(Next<RunStep>().step);
  EXPECT_EQ(Next<StartDecode>().id, 1u);
}

TEST_F(PullTest, FactsReachTheScheduler) {
  EXPECT_THAT(pull_->Tell(MemoryReading{{8000}}, now_), IsOk());
  EXPECT_THAT(
      pull_->Tell(CeilingChanged{0}, now_),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ceiling")));
  Submit(1, 1000);
  Next<Admit>();
  EXPECT_EQ(Next<RunStep>().chunks[0].n, 384);
}

TEST_F(PullTest, AReclaimIsCompletedByItsNumber) {
  EXPECT_THAT(pull_->Tell(MemoryReading{{6000}}, now_), IsOk());
  EXPECT_THAT(pull_->Tell(Reclaimable{.kind = "pool", .bytes = 6000}, now_),
              IsOk());
  Submit(1, 2000);
  Next<Admit>();
  const Reclaim reclaim = Next<Reclaim>();
  EXPECT_THAT(pull_->Tell(MemoryReading{{0}}, now_), IsOk());
  EXPECT_THAT(pull_->CompleteReclaim(reclaim.reclaim, 6000, now_), IsOk());
  EXPECT_EQ(Next<RunStep>().chunks[0].n, 1024);
}

// The same events, in an order drawn from a seed, to a bare scheduler and
// through the pull interface: the same work, in the same order.
TEST(PullAgreementTest, SaysWhatTheSchedulerSays) {
  const std::uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  auto scheduler = Scheduler::Create(SmallDevice());
  auto pull = PullScheduler::Create(SmallDevice());
  ASSERT_THAT(scheduler, IsOk());
  ASSERT_THAT(pull, IsOk());
  Instant now{};
  std::optional<RunStep> running;
  std::vector<RequestId> decoding;
  RequestId last = 0;
  std::size_t works = 0;
  for (int i = 0; i < 3000; ++i) {
    now += std::chrono::milliseconds(random() % 300);
    std::vector<Action> actions;
    const auto both = [&](const Event& event, const absl::Status& pulled) {
      EXPECT_EQ((*scheduler)->Handle(event, now, &actions), pulled);
    };
    const auto dice = random() % 8;
    if (dice < 2) {
      const Arrive arrive{.id = ++last,
                          .request = {.prompt_tokens = static_cast<Tokens>(
                                          1 + random() % 11'000)}};
      both(arrive, (*pull)->Submit(arrive, now));
    } else if (dice == 2 && last > 0) {
      const RequestId id = 1 + random() % last;
      both(Cancel{id}, (*pull)->Cancel(id, now));
    } else if (dice < 6 && running.has_value()) {
      const StepId step = std::exchange(running, std::nullopt)->step;
      if (random() % 5 == 0) {
        both(StepFailed{step, StepFailure::kOutOfMemory},
             (*pull)->Complete(step, StepOutcome::OutOfMemory(), now));
      } else {
        both(StepDone{.step = step},
             (*pull)->Complete(step, StepOutcome::Done(), now));
      }
    } else if (dice == 6 && !decoding.empty()) {
      const RequestId id = decoding.back();
      decoding.pop_back();
      const absl::Status status = (*pull)->Finish(id, now);
      both(Finished{id}, status);
      if (status.ok()) {
        const auto answer = (*pull)->Next(now);
        ASSERT_TRUE(answer.has_value() &&
                    std::holds_alternative<Answer>(*answer));
      }
    } else {
      const Bytes ceiling = random() % 4 == 0 ? 5000 : 10'000;
      both(CeilingChanged{ceiling},
           (*pull)->Tell(CeilingChanged{ceiling}, now));
    }
    for (const Action& action : actions) {
      if (std::holds_alternative<WakeAt>(action)) {
        EXPECT_EQ((*pull)->NextWake(), std::get<WakeAt>(action).when);
        continue;
      }
      const std::optional<Work> work = (*pull)->Next(now);
      ASSERT_TRUE(work.has_value());
      ++works;
      if (const auto* run = std::get_if<RunStep>(&action)) {
        ASSERT_TRUE(std::holds_alternative<RunStep>(*work));
        EXPECT_EQ(std::get<RunStep>(*work).chunks, run->chunks);
        running = *run;
      } else if (const auto* start = std::get_if<StartDecode>(&action)) {
        ASSERT_TRUE(std::holds_alternative<StartDecode>(*work));
        decoding.push_back(start->id);
      } else if (const auto* reject = std::get_if<Reject>(&action)) {
        ASSERT_TRUE(std::holds_alternative<Answer>(*work));
        EXPECT_EQ(std::get<Answer>(*work).reason, reject->reason);
      } else if (std::holds_alternative<Cancelled>(action)) {
        ASSERT_TRUE(std::holds_alternative<Answer>(*work));
      } else {
        ASSERT_TRUE(std::holds_alternative<Admit>(*work) ||
                    std::holds_alternative<Preempt>(*work));
      }
    }
  }
  EXPECT_GT(works, 1000u);
}

}  // namespace
}  // namespace tidegate
