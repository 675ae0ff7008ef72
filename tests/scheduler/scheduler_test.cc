// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/scheduler.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/testing/hand_driven_scheduler.h"
#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tidegate::testing::HandDrivenScheduler;
using ::tidegate::testing::StatusIs;

constexpr Duration kSecond = std::chrono::seconds(1);

class SchedulerTest : public HandDrivenScheduler {};

TEST_F(SchedulerTest, AdmitsAndRunsTheFirstChunkAtOnce) {
  const auto actions = Submit(1, 2000);
  ASSERT_EQ(Of<Admit>(actions).size(), 1u);
  EXPECT_EQ(Of<Admit>(actions)[0].claim_bytes, 2000);
  ASSERT_EQ(Of<RunStep>(actions).size(), 1u);
  const StepChunk expected{
      .id = 1, .start = 0, .n = 1024, .kv_len = 1024, .bound = Bound::kMaximum};
  EXPECT_EQ(Of<RunStep>(actions)[0].chunks, std::vector<StepChunk>{expected});
}

TEST_F(SchedulerTest, DecodesWhenThePromptIsComputed) {
  Submit(1, 1500);
  EXPECT_THAT(Of<StartDecode>(Done()), IsEmpty());
  EXPECT_EQ(running_->chunks[0].n, 476);
  EXPECT_EQ(running_->chunks[0].bound, Bound::kPrompt);
  EXPECT_EQ(Of<StartDecode>(Done()).size(), 1u);
}

TEST_F(SchedulerTest, LedgerIsZeroWhenEverythingEnded) {
  Submit(1, 1500, 10);
  Submit(2, 300);
  Done();
  Done();
  Send(DecodeProgress{.id = 1, .tokens = 4});
  EXPECT_EQ(scheduler().Stats().resident_bytes, 1504);
  Send(Finished{1});
  Done();
  Send(Finished{2});
  const SchedulerStats stats = scheduler().Stats();
  EXPECT_EQ(stats.finished, 2);
  EXPECT_EQ(stats.claimed_bytes, 0);
  EXPECT_EQ(stats.resident_bytes, 0);
}

TEST_F(SchedulerTest, RefusesOnArrivalWhatNoIdleDeviceCouldRun) {
  const auto actions = Submit(1, 20'000);
  ASSERT_EQ(Of<Reject>(actions).size(), 1u);
  const Reject reject = Of<Reject>(actions)[0];
  EXPECT_EQ(reject.code, RefusalCode::kTooLarge);
  EXPECT_THAT(reject.reason, HasSubstr("ceiling"));
  EXPECT_GT(reject.largest_prompt_that_fits, 9000);
  EXPECT_LT(reject.largest_prompt_that_fits, 10'000);
}

TEST_F(SchedulerTest, RefusesARequestThatContradictsItselfAsUnsupported) {
  const auto actions = Send(
      Arrive{.id = 1, .request = {.prompt_tokens = 10, .cached_tokens = 11}});
  ASSERT_EQ(Of<Reject>(actions).size(), 1u);
  EXPECT_EQ(Of<Reject>(actions)[0].code, RefusalCode::kUnsupported);
  EXPECT_THAT(Of<Reject>(actions)[0].reason, HasSubstr("cached_tokens"));
}

TEST_F(SchedulerTest, SecondOfTwoThatFitAloneWaitsForTheFirst) {
  Submit(1, 6000);
  const auto second = Submit(2, 6000);
  EXPECT_THAT(second, IsEmpty());
  while (running_.has_value()) Done();
  EXPECT_EQ(scheduler().Stats().waiting, 1);
  const auto after = Send(Finished{1});
  EXPECT_EQ(Of<Admit>(after).size(), 1u);
  EXPECT_EQ(running_->chunks[0].id, 2u);
}

TEST_F(SchedulerTest, FairServesAShortPromptBeforeTheRestOfALongOne) {
  options_.order_policy = "fair";
  Submit(1, 6000);
  Submit(2, 100);
  Done();
  EXPECT_EQ(running_->chunks[0].id, 2u);
  Done();
  EXPECT_EQ(running_->chunks[0].id, 1u);
}

TEST_F(SchedulerTest, FcfsFinishesTheFirstPromptFirst) {
  Submit(1, 3000);
  Submit(2, 100);
  Done();
  EXPECT_EQ(running_->chunks[0].id, 1u);
}

TEST_F(SchedulerTest, PriorityOvertakesAtTheNextChunk) {
  options_.order_policy = "priority";
  Submit(1, 3000);
  Send(Arrive{.id = 2, .request = {.prompt_tokens = 100}, .priority = 5});
  Done();
  EXPECT_EQ(running_->chunks[0].id, 2u);
}

TEST_F(SchedulerTest, FullQueueRefusesAsOverloadedAtOnce) {
  options_.queue_max = 1;
  Submit(1, 9000);
  Submit(2, 9000);
  const auto third = Submit(3, 100);
  ASSERT_EQ(Of<Reject>(third).size(), 1u);
  EXPECT_EQ(Of<Reject>(third)[0].code, RefusalCode::kOverloaded);
  EXPECT_THAT(Of<Reject>(third)[0].reason, HasSubstr("queue_max is 1"));
}

TEST_F(SchedulerTest, CancelWhileWaitingAnswersAtOnce) {
  Submit(1, 9000);
  Submit(2, 9000);
  const auto actions = Send(Cancel{2});
  ASSERT_EQ(Of<Cancelled>(actions).size(), 1u);
  EXPECT_EQ(Of<Cancelled>(actions)[0].id, 2u);
}

TEST_F(SchedulerTest, CancelDuringAStepAnswersWhenItEnds) {
  Submit(1, 9000);
  EXPECT_THAT(Send(Cancel{1}), IsEmpty());
  EXPECT_THAT(Refused(Cancel{1}), StatusIs(absl::StatusCode::kAlreadyExists,
                                           HasSubstr("cancelled already")));
  EXPECT_EQ(Of<Cancelled>(Done()).size(), 1u);
  EXPECT_EQ(scheduler().Stats().resident_bytes, 0);
}

TEST_F(SchedulerTest, RefusesEventsThatCannotBe) {
  Submit(1, 1000);
  EXPECT_THAT(Refused(Arrive{.id = 1, .request = {.prompt_tokens = 5}}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("1")));
  EXPECT_THAT(Refused(StepDone{.step = 99}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("step 99")));
  EXPECT_THAT(Refused(StepFailed{.step = 99}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("step 99")));
  EXPECT_THAT(Refused(Finished{1}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("not computed")));
  EXPECT_THAT(Refused(DecodeProgress{.id = 1, .tokens = 1}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("does not decode")));
  EXPECT_THAT(Refused(Cancel{7}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("7")));
  EXPECT_THAT(
      Refused(MemoryReading{}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("live_bytes")));
  EXPECT_THAT(
      Refused(MemoryReading{{-1}}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("live_bytes")));
  EXPECT_THAT(Refused(ReclaimDone{.reclaim = 3}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("reclaim 3")));
  EXPECT_THAT(
      Refused(CeilingChanged{0}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("ceiling")));
}

TEST_F(SchedulerTest, ALateAnswerOfAStepIsRefusedOnce) {
  Submit(1, 1000);
  const StepId step = running_->step;
  Done();
  EXPECT_THAT(Refused(StepDone{.step = step}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("not running")));
}

TEST_F(SchedulerTest, TimeDoesNotGoBack) {
  Advance(kSecond);
  Submit(1, 100);
  now_ -= kSecond;
  EXPECT_THAT(Refused(Wake{}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("now")));
}

TEST_F(SchedulerTest, ThrottleNarrowsWhenMemoryIsShortAndGrowsBack) {
  Submit(1, 9000);
  EXPECT_EQ(running_->chunks[0].n, 1024);
  // Another program takes memory for the time of a chunk: 10,000 - 7,700
  // leaves 2,300, of which each token takes five.
  Done(1024 + 6676);
  EXPECT_EQ(running_->chunks[0].n, 448);
  EXPECT_EQ(running_->chunks[0].bound, Bound::kMemory);
  Done(1472);
  EXPECT_EQ(running_->chunks[0].n, 1024);
}

TEST_F(SchedulerTest, NeverSubmitsMoreThanTheRoom) {
  Submit(1, 9400);
  while (running_.has_value()) {
    EXPECT_LE(running_->price.transient_bytes + running_->price.resident_bytes,
              running_->room_bytes);
    Done();
  }
  EXPECT_EQ(scheduler().Stats().resident_bytes, 9400);
}

TEST_F(SchedulerTest, ReclaimsThePoolBeforeItNarrowsAChunk) {
  options_.memory.base = 6000;
  Send(Reclaimable{.kind = "pool", .bytes = 6000});
  const auto actions = Submit(1, 2000);
  ASSERT_EQ(Of<Reclaim>(actions).size(), 1u);
  EXPECT_EQ(Of<Reclaim>(actions)[0].kind, "pool");
  EXPECT_EQ(Of<Reclaim>(actions)[0].bytes, 6000);
  EXPECT_FALSE(running_.has_value());
  Send(MemoryReading{{0}});
  Send(Reclaimable{.kind = "pool", .bytes = 0});
  Send(ReclaimDone{.reclaim = Of<Reclaim>(actions)[0].reclaim,
                   .freed_bytes = 6000});
  ASSERT_TRUE(running_.has_value());
  EXPECT_EQ(running_->chunks[0].n, 1024);
}

TEST_F(SchedulerTest, ReclaimsCheapestFirstAndNoMoreThanNeeded) {
  options_.memory.base = 9900;
  Send(Reclaimable{.kind = "model", .bytes = 2000});
  Send(Reclaimable{.kind = "cache", .bytes = 6000});
  const auto actions = Submit(1, 1000);
  ASSERT_EQ(Of<Reclaim>(actions).size(), 1u);
  EXPECT_EQ(Of<Reclaim>(actions)[0].kind, "cache");
  // Enough for one chunk: narrow ones would need less and run for longer.
  EXPECT_EQ(Of<Reclaim>(actions)[0].bytes, 9900 + 1000 + 4000 - 10'000);
}

TEST_F(SchedulerTest, ReclaimsNothingForWhatNeverFits) {
  options_.memory.base = 6000;
  Send(Reclaimable{.kind = "pool", .bytes = 6000});
  const auto actions = Submit(1, 20'000);
  EXPECT_THAT(Of<Reclaim>(actions), IsEmpty());
  EXPECT_EQ(Of<Reject>(actions).size(), 1u);
}

TEST_F(SchedulerTest, DoesNotAskAgainForAKindThatFreedNothing) {
  options_.memory.base = 9000;
  Send(Reclaimable{.kind = "cache", .bytes = 5000});
  const auto actions = Submit(1, 3000);
  const auto asked = Of<Reclaim>(actions);
  ASSERT_EQ(asked.size(), 1u);
  const auto after =
      Send(ReclaimDone{.reclaim = asked[0].reclaim, .freed_bytes = 0});
  EXPECT_THAT(Of<Reclaim>(after), IsEmpty());
  // It waits, and is answered when the shortage has lasted.
  ASSERT_EQ(Of<WakeAt>(after).size(), 1u);
  now_ = Of<WakeAt>(after)[0].when;
  EXPECT_EQ(Of<Reject>(Send(Wake{})).size(), 1u);
}

TEST_F(SchedulerTest, OutOfMemoryHalvesTheWidthAndItGrowsBack) {
  Submit(1, 8000);
  Fail();
  EXPECT_EQ(running_->chunks[0].n, 512);
  EXPECT_EQ(running_->chunks[0].start, 0);
  Done();
  EXPECT_EQ(running_->chunks[0].n, 1024);
  EXPECT_EQ(scheduler().Stats().out_of_memory, 1);
}

// A price that is too low for good: half of all steps failed on a real device.
TEST_F(SchedulerTest, AWidthThatNeverFitsIsTriedEverMoreRarely) {
  Submit(1, 8000);
  int failed = 0;
  int steps = 0;
  while (running_.has_value() && !running_->chunks.empty()) {
    if (++steps > 100) break;
    if (running_->chunks[0].n > 512) {
      ++failed;
      Fail();
    } else {
      Done();
    }
  }
  EXPECT_GE(steps, 16);
  EXPECT_LE(failed, 5);
  EXPECT_EQ(scheduler().Stats().rejected, 0);
}

TEST_F(SchedulerTest, AnEngineThatAlwaysFailsIsGivenUpWithAReason) {
  Submit(1, 8000);
  std::vector<Reject> rejects;
  for (int i = 0; i < 50 && rejects.empty(); ++i) {
    std::vector<Action> actions;
    if (running_.has_value()) {
      actions = Fail();
    } else {
      Advance(20 * kSecond);
      actions = Send(Wake{});
    }
    rejects = Of<Reject>(actions);
  }
  ASSERT_EQ(rejects.size(), 1u);
  EXPECT_EQ(rejects[0].code, RefusalCode::kOverloaded);
  EXPECT_THAT(rejects[0].reason,
              AllOf(HasSubstr("lack of memory"), HasSubstr("64 tokens")));
  EXPECT_EQ(scheduler().Stats().claimed_bytes, 0);
}

TEST_F(SchedulerTest, AnAdmittedRequestOutlastsADipOfTheCeiling) {
  Submit(1, 8000);
  Send(CeilingChanged{500});
  Done();
  EXPECT_FALSE(running_.has_value());
  Advance(4 * kSecond);
  Send(Wake{});
  EXPECT_FALSE(running_.has_value());
  Send(CeilingChanged{10'000});
  ASSERT_TRUE(running_.has_value());
  EXPECT_EQ(running_->chunks[0].start, 1024);
}

TEST_F(SchedulerTest, AShortageThatLastsEndsInAnAnswer) {
  Submit(1, 8000);
  Send(CeilingChanged{500});
  Done();
  Advance(60 * kSecond);
  const auto actions = Send(Wake{});
  ASSERT_EQ(Of<Reject>(actions).size(), 1u);
  EXPECT_EQ(scheduler().Stats().resident_bytes, 0);
}

TEST_F(SchedulerTest, PreemptsTheOtherWithLeastToLoseWhenNothingElseHelps) {
  options_.order_policy = "fair";
  Submit(1, 3000);
  Submit(2, 3000);
  for (int i = 0; i < 3; ++i) Done();
  // 2,048 of one and 1,024 of the other are live when the ceiling falls.
  Send(CeilingChanged{3400});
  Done();
  Advance(6 * kSecond);
  const auto actions = Send(Wake{});
  const auto preempted = Of<Preempt>(actions);
  ASSERT_EQ(preempted.size(), 1u);
  EXPECT_EQ(scheduler().Stats().preemptions, 1);
  ASSERT_TRUE(running_.has_value());
  EXPECT_NE(running_->chunks[0].id, preempted[0].id);
}

TEST_F(SchedulerTest, GrowthThatNoPriceKnowsEndsAPromptBeforeTheDeviceDies) {
  options_.memory.ceiling = 100'000;
  Submit(1, 80'000);
  Bytes live = 0;
  std::vector<Reject> rejects;
  Tokens computed = 0;
  while (running_.has_value() && rejects.empty()) {
    computed += running_->chunks[0].n;
    // A hundred bytes a token more than the one that is priced.
    live += 101 * running_->chunks[0].n;
    if (live > 100'000) live = 100'000;
    Advance(2 * kSecond);
    rejects = Of<Reject>(Done(live));
  }
  while (rejects.empty()) {
    Advance(10 * kSecond);
    rejects = Of<Reject>(Send(Wake{}));
  }
  EXPECT_LT(computed, 20'000);
  EXPECT_THAT(rejects[0].reason, HasSubstr("resident"));
}

TEST_F(SchedulerTest, OneStrangeReadingMovesNoAdmission) {
  Submit(1, 9000);
  Done(1024);
  Done(9000);
  Done(3072);
  Done(4096);
  EXPECT_EQ(scheduler().Stats().rejected, 0);
  while (running_.has_value()) Done();
  EXPECT_EQ(scheduler().Stats().rejected, 0);
}

TEST_F(SchedulerTest, WidthsRampAtAnAssumedPriceThatIsCalibrated) {
  estimator_->assumed = true;
  options_.calibrate = true;
  options_.memory.ceiling = 100'000;
  Submit(1, 8000);
  EXPECT_EQ(running_->chunks[0].n, 256);
  Done();
  EXPECT_EQ(running_->chunks[0].n, 512);
  Done();
  EXPECT_EQ(running_->chunks[0].n, 1024);
  Done();
  EXPECT_EQ(running_->chunks[0].n, 1024);
}

TEST_F(SchedulerTest, StepsStayBelowTheStallWhileSomebodyDecodes) {
  options_.decode_stall = std::chrono::milliseconds(50);
  options_.memory.ceiling = 1'000'000;
  const auto done = [&] {
    const StepId step = running_->step;
    // A tenth of a millisecond a token.
    const Duration took =
        running_->chunks[0].n * std::chrono::microseconds(100);
    running_.reset();
    Send(StepDone{.step = step, .took = took});
  };
  Submit(1, 12 * 1024, 100);
  for (int i = 0; i < 12; ++i) done();
  Submit(2, 20'000);
  EXPECT_LE(running_->chunks[0].n, 500);
  EXPECT_GE(running_->chunks[0].n, 384);
  EXPECT_EQ(running_->chunks[0].bound, Bound::kTime);
  Send(Finished{1});
  done();
  EXPECT_EQ(running_->chunks[0].n, 1024);
}

TEST_F(SchedulerTest, AKindThatFreedNothingIsAskedAgainWhenItIsSpokenOfAgain) {
  options_.memory.base = 9000;
  Send(Reclaimable{.kind = "model", .bytes = 5000});
  auto asked = Of<Reclaim>(Submit(1, 3000));
  ASSERT_EQ(asked.size(), 1u);
  Send(ReclaimDone{.reclaim = asked[0].reclaim, .freed_bytes = 0});
  asked = Of<Reclaim>(Send(Reclaimable{.kind = "model", .bytes = 5000}));
  EXPECT_EQ(asked.size(), 1u);
}

TEST_F(SchedulerTest, APendingReleaseThatNeverEndsIsNotWaitedForForEver) {
  Send(MemoryReading{{8000}});
  Send(ReleasePending{8000});
  EXPECT_THAT(Of<Reject>(Submit(1, 3000)), IsEmpty());
  std::vector<Reject> rejects;
  for (int i = 0; i < 10 && rejects.empty(); ++i) {
    Advance(31 * kSecond);
    rejects = Of<Reject>(Send(Wake{}));
  }
  EXPECT_EQ(rejects.size(), 1u);
}

TEST_F(SchedulerTest, WithoutReadingsWhatAReclaimFreedIsBelieved) {
  options_.memory.base = 9000;
  Send(Reclaimable{.kind = "cache", .bytes = 5000});
  const auto asked = Of<Reclaim>(Submit(1, 3000));
  ASSERT_EQ(asked.size(), 1u);
  Send(Reclaimable{.kind = "cache", .bytes = 5000 - asked[0].bytes});
  Send(ReclaimDone{.reclaim = asked[0].reclaim, .freed_bytes = asked[0].bytes});
  EXPECT_TRUE(running_.has_value());
}

TEST_F(SchedulerTest, TenantsShareWhateverTheyAskFor) {
  options_.order_policy = "fair";
  options_.memory.ceiling = 1'000'000;
  const auto arrive = [&](RequestId id, const char* tenant) {
    Send(
        Arrive{.id = id, .request = {.prompt_tokens = 5000}, .tenant = tenant});
  };
  for (RequestId id = 1; id <= 4; ++id) arrive(id, "greedy");
  arrive(5, "modest");
  Tokens greedy = 0;
  Tokens modest = 0;
  for (int i = 0; i < 8; ++i) {
    (running_->chunks[0].id == 5 ? modest : greedy) += running_->chunks[0].n;
    Done();
  }
  EXPECT_EQ(greedy, modest);
}

TEST_F(SchedulerTest, CreateNamesAPolicyThatDoesNotExist) {
  options_.chunk_policy = "throtle";
  EXPECT_THAT(Scheduler::Create(options_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("chunk.use"), HasSubstr("throttle"))));
}

TEST_F(SchedulerTest, CreateNeedsAnEstimator) {
  options_.estimator = nullptr;
  EXPECT_THAT(
      Scheduler::Create(options_),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("estimator")));
}

}  // namespace
}  // namespace tidegate
