// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What random scenarios and events brought to light, each in its least form.

#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "scheduler/ledger.h"
#include "tests/testing/hand_driven_scheduler.h"
#include "tests/testing/matchers.h"
#include "tidegate/scheduler.h"

namespace tidegate {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::tidegate::testing::HandDrivenScheduler;

class RobustnessTest : public HandDrivenScheduler {};

TEST_F(RobustnessTest, ARequestMayEnterTheQueueBeforeTheOnlyOneInIt) {
  for (RequestId others = 0; others < 12; ++others) {
    Restart();
    for (RequestId id = 0; id <= others; ++id) Submit(100 + id, 9000);
    for (RequestId id = 1; id <= others; ++id) Send(Cancel{100 + id});
    EXPECT_THAT(Of<Reject>(Submit(1, 500)), IsEmpty());
    EXPECT_EQ(scheduler().Stats().waiting, 1);
  }
}

TEST_F(RobustnessTest, APrefixBeyondEveryBudgetIsRefused) {
  const auto actions = Send(Arrive{
      .id = 1, .request = {.prompt_tokens = 100}, .prefix_bytes = kBytesMax});
  EXPECT_THAT(Of<Reject>(actions), SizeIs(1));
}

TEST(LedgerTest, AccountsOfAbsurdSizeSumToZeroWhenTheyAreGone) {
  internal::Ledger ledger;
  ledger.Open(1, kBytesMax, kBytesMax);
  ledger.Open(2, kBytesMax, 7);
  EXPECT_EQ(ledger.claimed(), kBytesMax);
  EXPECT_TRUE(ledger.Conserved());
  ledger.Release(1);
  EXPECT_EQ(ledger.resident(), 7);
  ledger.Release(2);
  EXPECT_EQ(ledger.claimed(), 0);
  EXPECT_EQ(ledger.resident(), 0);
}

TEST_F(RobustnessTest, WhoWaitedForARequestThatIsGivenUpIsAskedAgain) {
  options_.order_policy = "fair";
  Submit(1, 6000);
  Submit(2, 5000);
  Done(9990);  // another program took nearly everything
  now_ += std::chrono::seconds(5);
  Send(Wake{});
  now_ += std::chrono::seconds(25);
  const auto actions = Send(Wake{});
  ASSERT_THAT(Of<Reject>(actions), ::testing::Not(IsEmpty()));
  EXPECT_EQ(Of<Reject>(actions)[0].id, 1u);
  EXPECT_EQ(Of<WakeAt>(actions).size() + Of<Reject>(actions).size(), 2u);
}

TEST_F(RobustnessTest, WhatARequestWasChargedTooMuchIsNobodysRoom) {
  options_.memory.base = 5000;
  Submit(1, 900);
  Done(5000);  // it holds nothing of the 900 bytes that it was charged
  Send(Finished{1});
  Send(MemoryReading{{5000}});
  // Needs 5,300 bytes of 5,000.
  EXPECT_THAT(Of<Reject>(Submit(2, 5044)), SizeIs(1));
}

TEST_F(RobustnessTest, APoolToldBeforeItsReadingIsNobodysRoom) {
  options_.memory.base = 5000;
  Submit(1, 900);
  Send(Reclaimable{.kind = "pool", .bytes = 3600});
  Done(9500);
  Send(Finished{1});
  Send(MemoryReading{{8600}});
  EXPECT_THAT(Of<Reject>(Submit(2, 5044)), SizeIs(1));
}

TEST_F(RobustnessTest, APoolThatLiesWhereDecodingWillGrowIsEmptied) {
  Submit(1, 1024, 4000);
  Send(Reclaimable{.kind = "pool", .bytes = 7000});
  const auto actions = Done(1024 + 7000);
  ASSERT_THAT(Of<Reclaim>(actions), SizeIs(1));
  EXPECT_EQ(Of<Reclaim>(actions)[0].kind, "pool");
}

TEST_F(RobustnessTest, APoolBesideWhatDecodingWillGrowStays) {
  Submit(1, 1024, 1000);
  Send(Reclaimable{.kind = "pool", .bytes = 4096});
  EXPECT_THAT(Of<Reclaim>(Done(1024 + 4096)), IsEmpty());
}

// A running step was started on room that an admission may not take away: a
// prefix is live from its admission on.
TEST_F(RobustnessTest, APinnedPrefixDoesNotTakeTheRoomOfARunningStep) {
  options_.step.in_flight = 2;
  ASSERT_THAT(Of<RunStep>(Submit(1, 1024)), SizeIs(1));
  EXPECT_EQ(scheduler().Stats().memory.in_flight, 5120);
  // 5,000 bytes beside the 5,120 of the step are more than 10,000.
  const auto beside =
      Send(Arrive{.id = 2,
                  .request = {.prompt_tokens = 5001, .cached_tokens = 5000},
                  .prefix_bytes = 5000});
  EXPECT_THAT(Of<Admit>(beside), IsEmpty());
  const auto after = Done();
  EXPECT_THAT(Of<Admit>(after), SizeIs(1));
  EXPECT_THAT(Of<RunStep>(after), SizeIs(1));
}

TEST_F(RobustnessTest, APinnedPrefixThatFitsBesideARunningStepIsAdmitted) {
  options_.step.in_flight = 2;
  Submit(1, 1024);
  running_.reset();
  const auto beside =
      Send(Arrive{.id = 2,
                  .request = {.prompt_tokens = 4001, .cached_tokens = 4000},
                  .prefix_bytes = 4000});
  EXPECT_THAT(Of<Admit>(beside), SizeIs(1));
  EXPECT_THAT(Of<RunStep>(beside), SizeIs(1));
}

// What the next token lacks was more than a number holds, and taken for less
// than nothing.
TEST_F(RobustnessTest, ADecodeTokenThatLacksMoreThanEveryDeviceHasWaits) {
  options_.step.decode = StepShape::Decode::kMixed;
  Submit(1, 64, 10);
  ASSERT_THAT(Of<StartDecode>(Done()), SizeIs(1));
  ASSERT_THAT(Of<RunStep>(Send(CeilingChanged{1})), IsEmpty());
  const auto after = Done(kBytesMax);
  EXPECT_THAT(Of<RunStep>(after), IsEmpty());
  EXPECT_THAT(Of<WakeAt>(after), SizeIs(1));
}

// Those whose steps failed run alone, but only in a safe order; when there was
// none for anybody, nobody ran.
TEST_F(RobustnessTest, SuspectsGoOnWhereNoSafeOrderIsLeft) {
  options_.admission_policy = "bankers";
  options_.step.sequences = 2;
  for (const RequestId id : {1, 2}) {
    Send(Arrive{.id = id,
                .request = {.prompt_tokens = 4000, .cached_tokens = 3000},
                .prefix_bytes = 3000});
    ASSERT_TRUE(running_.has_value());
    ASSERT_EQ(running_->chunks[0].id, id);
    Fail(StepFailure::kOther);
  }
  Advance(std::chrono::seconds(1));
  // Beside the other's prefix neither can end, though each can go on.
  const auto actions = Send(CeilingChanged{7000});
  EXPECT_THAT(Of<RunStep>(actions), SizeIs(1));
}

TEST_F(RobustnessTest, ASuspectThatIsGivenUpIsNotAskedAgain) {
  options_.step.sequences = 2;
  Submit(1, 4000);
  Done(8000);  // its remainder fits no longer, but chunks do
  Fail();
  ASSERT_TRUE(running_.has_value());
  Advance(std::chrono::seconds(31));
  EXPECT_THAT(Of<Reject>(Fail()), SizeIs(1));
}

}  // namespace
}  // namespace tidegate
