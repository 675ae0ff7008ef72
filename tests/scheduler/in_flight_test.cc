// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What may happen beside steps that run.

#include "tests/testing/hand_driven_scheduler.h"
#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class InFlightTest : public testing::HandDrivenScheduler {};

// A running step was started on room that an admission may not take away: its
// prefix is live from then on. Found by tidegate-torture, seed 273.
TEST_F(InFlightTest, APinnedPrefixWaitsUntilARunningStepNeedsItsRoomNoLonger) {
  options_.step.in_flight = 2;
  const auto started = Submit(1, 1024);
  ASSERT_THAT(Of<RunStep>(started), SizeIs(1));
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

TEST_F(InFlightTest, APinnedPrefixThatFitsBesideARunningStepIsAdmittedAtOnce) {
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

}  // namespace
}  // namespace tidegate
