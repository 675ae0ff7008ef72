// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/text.h"
#include "policies/refusal.h"
#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/actions.h"

namespace tidegate {
namespace {

constexpr Bytes kGib = Bytes{1} << 30;

TEST(RefusalWordsTest, EveryTermOfTheInequalityIsNamed) {
  EXPECT_EQ(Describe({.live = 18 * kGib,
                      .claims = 2 * kGib,
                      .resident = 10 * kGib,
                      .transient = 5 * kGib,
                      .ceiling = 32 * kGib,
                      .headroom = kGib,
                      .n = 256,
                      .kv_len = 300'000}),
            "18.00 GiB live + 2.00 GiB claims + 10.00 GiB resident + 5.00 GiB "
            "transient = 35.00 GiB > 31.00 GiB = 32.00 GiB ceiling - 1.00 GiB "
            "headroom, for 256 tokens at kv length 300,000");
}

TEST(RefusalWordsTest, WhatFitsToTheByteIsNotAbove) {
  EXPECT_EQ(Describe({.transient = 10, .ceiling = 10, .n = 1, .kv_len = 1}),
            "0 B live + 0 B claims + 0 B resident + 10 B transient = 10 B <= "
            "10 B = 10 B ceiling - 0 B headroom, for 1 token at kv length 1");
}

TEST(RefusalWordsTest, ASumBeyondEveryNumberDoesNotWrap) {
  const std::string text =
      Describe({.live = kBytesMax, .transient = kBytesMax, .ceiling = 10});
  EXPECT_THAT(text, ::testing::HasSubstr("= 8.00 EiB > 10 B"));
}

TEST(RefusalWordsTest, ABufferWithinItsLimitIsNotMentioned) {
  EXPECT_THAT(Describe({.ceiling = 10,
                        .largest_allocation = 5,
                        .max_allocation = 5,
                        .n = 1,
                        .kv_len = 1}),
              ::testing::StartsWith("0 B live"));
}

TEST(RefusalWordsTest, TokensAreGroupedByThousands) {
  EXPECT_EQ(internal::Grouped(0), "0");
  EXPECT_EQ(internal::Grouped(999), "999");
  EXPECT_EQ(internal::Grouped(1000), "1,000");
  EXPECT_EQ(internal::Grouped(100'000'000), "100,000,000");
}

TEST(RefusalWordsTest, TheCheapestWidthIsShownAndNotTheNarrowest) {
  testing::FakeEstimator estimator;
  estimator.kernels = {{.n_last = 511, .per_n_kv = 1},
                       {.n_last = kTokensMax, .per_n = 1}};
  ASSERT_OK_AND_ASSIGN(
      const Plan plan,
      PlanPrompt(estimator, {.prompt_tokens = 4096}, {.ceiling = 900},
                 {.max = 1024, .floor = 64, .quantum = 64}));
  // 64 unfused tokens need 64 * 64; 512 fused ones need 512.
  EXPECT_EQ(plan.arithmetic.n, 512);
  EXPECT_EQ(plan.arithmetic.transient, 512);
  EXPECT_EQ(plan.arithmetic.resident, 512);
}

TEST(RefusalWordsTest, EveryWordOfJsonHasItsSpelling) {
  EXPECT_EQ(VerdictName(Verdict::kAdmit), "admit");
  EXPECT_EQ(VerdictName(Verdict::kWait), "wait");
  EXPECT_EQ(VerdictName(Verdict::kReject), "reject");
  EXPECT_EQ(RefusalCodeName(RefusalCode::kTooLarge), "too_large");
  EXPECT_EQ(RefusalCodeName(RefusalCode::kOverloaded), "overloaded");
  EXPECT_EQ(RefusalCodeName(RefusalCode::kUnsupported), "unsupported");
  EXPECT_EQ(BoundName(Bound::kMemory), "memory");
  EXPECT_EQ(BoundName(Bound::kPlan), "plan");
}

}  // namespace
}  // namespace tidegate
