// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/time_model.h"

#include <cmath>
#include <random>

#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"
#include "tidegate/policy.h"

namespace tidegate {
namespace {

using ::tidegate::testing::FakeEstimator;

constexpr std::int64_t kMs = 1'000'000'000;  // picoseconds

// 5 ms a step, 40 us a token, 1 ns an earlier token, 10 ps a pair.
constexpr TimeModel kModel = {.fixed_ps = 5 * kMs,
                              .per_kv_ps = 1000,
                              .per_token_ps = 40'000'000,
                              .per_pair_as = 10'000'000};

TEST(TimeModelTest, AddsItsFourTerms) {
  // 5 ms + 0.1 ms + 40.96 ms + 10 ps * (2 * 1e5 * 1024 + 1024^2).
  EXPECT_NEAR(static_cast<double>(kModel.Of(1024, 100'000).count()),
              5e6 + 1e5 + 40.96e6 + 0.01 * (2e5 * 1024 + 1024.0 * 1024), 5);
}

TEST(TimeModelTest, NeitherFallsNorOverflowsAtTheLongestSequence) {
  const TimeModel dear = {.fixed_ps = 1, .per_pair_as = 4'000'000'000'000'000};
  EXPECT_EQ(dear.Of(kTokensMax, kTokensMax), Duration::max());
  Duration before{};
  for (Tokens n = 1; n < kTokensMax / 2; n *= 3) {
    const Duration now = kModel.Of(n, n);
    EXPECT_GE(now, before);
    before = now;
  }
}

TEST(TimeModelTest, WidestWithinIsTheWidestWithin) {
  for (const Tokens start : {Tokens{0}, Tokens{50'000}, Tokens{400'000}}) {
    const Duration limit = std::chrono::milliseconds(60);
    const Tokens n = kModel.WidestWithin(limit, start, 4096);
    ASSERT_GT(n, 0);
    EXPECT_LE(kModel.Of(n, start), limit);
    if (n < 4096) {
      EXPECT_GT(kModel.Of(n + 1, start), limit);
    }
  }
}

TEST(TimeFitTest, SaysNothingAfterAFewSteps) {
  TimeFit fit;
  for (int i = 0; i < 7; ++i) fit.Add(512, 512 * i, kModel.Of(512, 512 * i));
  EXPECT_FALSE(fit.model().has_value());
}

TEST(TimeFitTest, PredictsStepsItHasNotSeen) {
  std::mt19937_64 random(5);
  TimeFit fit;
  for (int i = 0; i < 64; ++i) {
    const Tokens n = 128 + random() % 4000;
    const Tokens before = random() % 200'000;
    fit.Add(n, before, kModel.Of(n, before));
  }
  ASSERT_TRUE(fit.model().has_value());
  for (const Tokens n : {300, 1024, 3000}) {
    for (const Tokens before : {1000, 64'000, 180'000}) {
      const double expected = static_cast<double>(kModel.Of(n, before).count());
      EXPECT_NEAR(static_cast<double>(fit.model()->Of(n, before).count()),
                  expected, 0.03 * expected)
          << n << " behind " << before;
    }
  }
}

TEST(TimeFitTest, AStalledStepMovesItLittle) {
  std::mt19937_64 random(6);
  TimeFit calm;
  TimeFit disturbed;
  for (int i = 0; i < 40; ++i) {
    const Tokens n = 128 + random() % 4000;
    const Tokens before = random() % 200'000;
    const Duration took = kModel.Of(n, before);
    calm.Add(n, before, took);
    disturbed.Add(n, before, i % 13 == 7 ? 20 * took : took);
  }
  const double expected =
      static_cast<double>(calm.model()->Of(2048, 50'000).count());
  EXPECT_NEAR(static_cast<double>(disturbed.model()->Of(2048, 50'000).count()),
              expected, 0.1 * expected);
}

TEST(TimeFitTest, NoMeasurementMakesACoefficientNegative) {
  std::mt19937_64 random(8);
  for (int round = 0; round < 300; ++round) {
    TimeFit fit;
    for (int i = 0; i < 20; ++i) {
      fit.Add(1 + random() % 5000, random() % 1'000'000,
              Duration(1 + random() % 10'000'000'000));
    }
    ASSERT_TRUE(fit.model().has_value());
    EXPECT_GE(fit.model()->fixed_ps, 0);
    EXPECT_GE(fit.model()->per_kv_ps, 0);
    EXPECT_GE(fit.model()->per_token_ps, 0);
    EXPECT_GE(fit.model()->per_pair_as, 0);
  }
}

// A prompt of a million tokens of which so many are done, in ample memory.
ChunkPolicy::Choice Next(const char* policy, Tokens done, Duration stall,
                         Duration target) {
  FakeEstimator estimator;
  const PlanRequest request{.prompt_tokens = 1'000'000};
  const RequestView view{.request = &request, .done = done, .admitted = true};
  const MemoryView memory{.limits = {.ceiling = Bytes{1} << 50}};
  const ChunkLimits limits{.max = 4096, .floor = 256, .quantum = 64};
  auto created = CreateChunkPolicy(policy);
  return (*created)->Next({.estimator = estimator,
                           .request = view,
                           .memory = memory,
                           .limits = limits,
                           .time = &kModel,
                           .decode_stall = stall,
                           .step_target = target});
}

TEST(EqualTimeTest, ChunksShrinkAsThePromptGrowsAndTakeEquallyLong) {
  const Duration target = std::chrono::milliseconds(100);
  Tokens before = 5000;
  for (const Tokens done : {0, 64'000, 256'000, 512'000}) {
    const auto choice = Next("equal_time", done, {}, target);
    EXPECT_LE(choice.n, before);
    EXPECT_EQ(choice.bound, Bound::kTime);
    EXPECT_LE(kModel.Of(choice.n, done), target);
    EXPECT_GT(kModel.Of(choice.n + 64, done), target);
    before = choice.n;
  }
}

TEST(ThrottleTest, AStallLimitNarrowsAChunkAndIsNamed) {
  const Duration stall = std::chrono::milliseconds(50);
  const auto choice = Next("throttle", 64'000, stall, stall);
  EXPECT_EQ(choice.bound, Bound::kTime);
  EXPECT_LE(kModel.Of(choice.n, 64'000), stall);
  EXPECT_EQ(Next("throttle", 64'000, {}, stall).n, 4096);
}

TEST(ThrottleTest, AStallLimitStopsAtTheFloor) {
  const auto choice =
      Next("throttle", 960'000, std::chrono::milliseconds(1), {});
  EXPECT_EQ(choice.n, 256);
  EXPECT_EQ(choice.bound, Bound::kTime);
}

// A million is 244 chunks of 4096 and one of 576: the narrow one first, where
// every later step then starts behind fewer tokens.
TEST(EfficientTest, PutsTheNarrowChunkWhereItCostsLeast) {
  EXPECT_EQ(Next("efficient", 0, {}, {}).n, 576);
  EXPECT_EQ(Next("efficient", 576, {}, {}).n, 4096);
}

}  // namespace
}  // namespace tidegate
