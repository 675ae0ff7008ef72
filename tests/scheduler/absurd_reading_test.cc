// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Readings beyond every device. Found by tidegate-torture.

#include "tests/testing/hand_driven_scheduler.h"
#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class AbsurdReadingTest : public testing::HandDrivenScheduler {};

// What the next token lacks was more than a number holds, and taken for less
// than nothing: an invariant broke (seed 430).
TEST_F(AbsurdReadingTest, ADecodeTokenThatLacksAllBytesThereAreWaits) {
  options_.step.decode = StepShape::Decode::kMixed;
  Submit(1, 64, 10);
  ASSERT_THAT(Of<StartDecode>(Done()), SizeIs(1));
  ASSERT_THAT(Of<RunStep>(Send(CeilingChanged{1})), IsEmpty());
  const auto after = Done(kBytesMax);
  EXPECT_THAT(Of<RunStep>(after), IsEmpty());
  EXPECT_THAT(Of<WakeAt>(after), SizeIs(1));
}

}  // namespace
}  // namespace tidegate
