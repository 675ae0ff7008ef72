// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/sweep.h"

#include <algorithm>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"

namespace tidegate::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

Trace ArrivingAt(const std::vector<int>& seconds) {
  Trace trace;
  for (const int at : seconds) {
    trace.rows.push_back({.arrival = Instant(std::chrono::seconds(at)),
                          .prompt_tokens = 100 + at,
                          .output_tokens = 1});
  }
  return trace;
}

std::vector<Duration> Gaps(const Trace& trace) {
  std::vector<Duration> gaps;
  for (std::size_t i = 1; i < trace.rows.size(); ++i) {
    gaps.push_back(trace.rows[i].arrival - trace.rows[i - 1].arrival);
  }
  return gaps;
}

TEST(VaryArrivalsTest, SeedZeroAndLoadOneChangeNothing) {
  const Trace trace = ArrivingAt({3, 4, 8});
  ASSERT_OK_AND_ASSIGN(const Trace varied, VaryArrivals(trace, 1, 0));
  EXPECT_EQ(varied.rows, trace.rows);
}

TEST(VaryArrivalsTest, TwiceTheLoadIsHalfTheTime) {
  ASSERT_OK_AND_ASSIGN(const Trace varied,
                       VaryArrivals(ArrivingAt({0, 4, 10}), 2, 0));
  EXPECT_THAT(Gaps(varied),
              ElementsAre(std::chrono::seconds(2), std::chrono::seconds(3)));
  EXPECT_EQ(varied.rows[2].prompt_tokens, 110);
}

TEST(VaryArrivalsTest, ASeedKeepsRequestsEndsAndGaps) {
  std::vector<int> seconds;
  for (int i = 0; i < 50; ++i) seconds.push_back(i * i);
  const Trace trace = ArrivingAt(seconds);
  ASSERT_OK_AND_ASSIGN(const Trace varied, VaryArrivals(trace, 1, 7));
  EXPECT_EQ(varied.rows.front().arrival, trace.rows.front().arrival);
  EXPECT_EQ(varied.rows.back().arrival, trace.rows.back().arrival);
  std::vector<Duration> before = Gaps(trace);
  std::vector<Duration> after = Gaps(varied);
  EXPECT_NE(before, after);
  std::sort(before.begin(), before.end());
  std::sort(after.begin(), after.end());
  EXPECT_EQ(before, after);
  for (std::size_t i = 0; i < seconds.size(); ++i) {
    EXPECT_EQ(varied.rows[i].prompt_tokens, trace.rows[i].prompt_tokens);
  }
}

TEST(VaryArrivalsTest, ASeedGivesOneOrder) {
  const Trace trace = ArrivingAt({0, 1, 3, 6, 10, 15});
  ASSERT_OK_AND_ASSIGN(const Trace first, VaryArrivals(trace, 1, 1));
  ASSERT_OK_AND_ASSIGN(const Trace again, VaryArrivals(trace, 1, 1));
  EXPECT_EQ(first.rows, again.rows);
}

TEST(VaryArrivalsTest, ALoadThatStretchesBeyondACenturyIsAnError) {
  EXPECT_THAT(VaryArrivals(ArrivingAt({0, 1}), 1e-10, 0),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("within a century")));
}

SweepRun RunOf(const Trace& trace) {
  EstimatorOptions options;
  options.shape = testing::AttentionOnly(testing::FullMixer(8, 2, 64));
  options.use = "fused";
  absl::StatusOr<CreatedEstimator> created = CreateEstimator(options);
  EXPECT_THAT(created, IsOk());
  SweepRun run{.trace = &trace};
  run.options.scheduler.estimator = std::move(created->estimator);
  run.options.scheduler.memory = {.ceiling = 100 << 20, .base = 10 << 20};
  return run;
}

TEST(RunSweepTest, EveryRunIsToldOnce) {
  const Trace trace = ArrivingAt({0, 1, 2});
  std::vector<SweepRun> runs(9, RunOf(trace));
  // One that the simulator refuses, among those that it takes.
  runs[4].options.scheduler.estimator = nullptr;
  std::vector<int> told(runs.size(), 0);
  double last = -1;
  RunSweep(
      runs, 4,
      [&](std::size_t at, absl::StatusOr<SimulationResult> result) {
        ++told[at];
        EXPECT_EQ(result.ok(), at != 4);
      },
      [&](double fraction) {
        EXPECT_GE(fraction, last);
        last = fraction;
      });
  EXPECT_THAT(told, ::testing::Each(1));
  EXPECT_EQ(last, 1);
}

TEST(RunSweepTest, NoRunsAreDoneAtOnce) {
  RunSweep({}, 4, nullptr, nullptr);
  SUCCEED();
}

}  // namespace
}  // namespace tidegate::tools
