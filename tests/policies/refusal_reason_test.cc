// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What refusals say.

#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/plan.h"

namespace tidegate {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::tidegate::testing::FakeEstimator;

TEST(RefusalReasonTest, LiveMemoryAboveTheLineIsNamedInsteadOfTheTransient) {
  const FakeEstimator estimator;
  ASSERT_OK_AND_ASSIGN(const Plan plan,
                       PlanPrompt(estimator, {.prompt_tokens = 10},
                                  {.ceiling = 100, .base = 150}, {}));
  EXPECT_EQ(plan.verdict, Verdict::kReject);
  EXPECT_THAT(plan.reason,
              AllOf(HasSubstr("what is live already lies 50 B above the line"),
                    Not(HasSubstr("do not shrink"))));
}

}  // namespace
}  // namespace tidegate
