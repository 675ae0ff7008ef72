// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a simulation tells of each request, and what is counted from that.

#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"
#include "tidegate/simulator.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using ::tidegate::testing::StatusIs;

constexpr Bytes kMiB = Bytes{1} << 20;

// 1,000 prompt tokens a second, 10 output tokens a second, nothing else.
SimulatorOptions Options() {
  EstimatorOptions estimator;
  estimator.shape = testing::AttentionOnly(testing::FullMixer(8, 2, 64));
  estimator.use = "fused";
  absl::StatusOr<CreatedEstimator> created = CreateEstimator(estimator);
  EXPECT_THAT(created, testing::IsOk());
  SimulatorOptions options;
  options.scheduler.estimator = std::move(created->estimator);
  options.scheduler.memory = {.ceiling = 100 * kMiB, .base = 10 * kMiB};
  options.world.tokens_per_s = 1000;
  options.world.chunk_overhead_s = 0;
  options.world.decode_tokens_per_s = 10;
  return options;
}

TraceRow Row(int at_s, Tokens prompt, Tokens output) {
  return {.arrival = Instant(std::chrono::seconds(at_s)),
          .prompt_tokens = prompt,
          .output_tokens = output,
          .session = at_s};
}

// First tokens after 1, 2 and 4 s, far apart; one that never fits.
Trace FourRequests() {
  return {.rows = {Row(0, 1000, 20), Row(100, 2000, 0), Row(200, 1'000'000, 5),
                   Row(300, 4000, 30)}};
}

TEST(RecordsTest, EachRequestHasItsTimes) {
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate(FourRequests(), Options()));
  ASSERT_EQ(result.records.size(), 4u);
  const RequestRecord& first = result.records[0];
  EXPECT_EQ(first.outcome, RequestOutcome::kFinished);
  EXPECT_DOUBLE_EQ(first.arrival_s, 0);
  EXPECT_EQ(first.prompt_tokens, 1000);
  EXPECT_EQ(first.output_tokens, 20);
  EXPECT_DOUBLE_EQ(first.ttft_s.value(), 1);
  EXPECT_DOUBLE_EQ(first.end_to_end_s, 3);
  EXPECT_DOUBLE_EQ(first.itl_s.value(), 0.1);
  EXPECT_DOUBLE_EQ(result.records[3].arrival_s, 300);
  EXPECT_DOUBLE_EQ(result.records[3].end_to_end_s, 7);
}

TEST(RecordsTest, WithoutOutputThereIsNoTimeBetweenTokens) {
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate(FourRequests(), Options()));
  EXPECT_DOUBLE_EQ(result.records[1].ttft_s.value(), 2);
  EXPECT_EQ(result.records[1].itl_s, std::nullopt);
}

TEST(RecordsTest, ARefusalNamesItsCodeAndHasNoFirstToken) {
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate(FourRequests(), Options()));
  const RequestRecord& refused = result.records[2];
  EXPECT_EQ(refused.outcome, RequestOutcome::kRejected);
  EXPECT_EQ(refused.refusal, RefusalCode::kTooLarge);
  EXPECT_EQ(refused.ttft_s, std::nullopt);
  EXPECT_EQ(refused.output_tokens, 0);
  EXPECT_DOUBLE_EQ(refused.end_to_end_s, 0);
}

TEST(RecordsTest, PercentilesAreOverFinishedRequests) {
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate(FourRequests(), Options()));
  EXPECT_DOUBLE_EQ(result.ttft_p50_s, 2);
  EXPECT_DOUBLE_EQ(result.ttft_p90_s, 4);
  EXPECT_DOUBLE_EQ(result.ttft_p99_s, 4);
  // 3, 2 and 7 s.
  EXPECT_DOUBLE_EQ(result.end_to_end_s.p50, 3);
  EXPECT_DOUBLE_EQ(result.end_to_end_s.p99, 7);
  EXPECT_DOUBLE_EQ(result.itl_s.p50, 0.1);
}

TEST(RecordsTest, PercentilesAreNearestRank) {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  const Percentiles hundred = PercentilesOf(values);
  EXPECT_EQ(hundred.p50, 50);
  EXPECT_EQ(hundred.p90, 90);
  EXPECT_EQ(hundred.p99, 99);
  EXPECT_EQ(PercentilesOf({}).p99, 0);
  EXPECT_EQ(PercentilesOf({3}).p50, 3);
}

TEST(RecordsTest, GoodputCountsRequestsThatMeetBothLevels) {
  SimulatorOptions options = Options();
  options.service_levels = {.ttft_s = 2, .itl_s = 0.1};
  ASSERT_OK_AND_ASSIGN(SimulationResult result,
                       Simulate(FourRequests(), options));
  // The first two: the last takes 4 s. From 0 to 307 s.
  EXPECT_EQ(result.good_requests, 2);
  EXPECT_DOUBLE_EQ(result.span_s, 307);
  EXPECT_DOUBLE_EQ(result.goodput_per_s, 2.0 / 307);

  // Without output no time between tokens is too long.
  options.service_levels = {.ttft_s = 10, .itl_s = 0.09};
  ASSERT_OK_AND_ASSIGN(result, Simulate(FourRequests(), options));
  EXPECT_EQ(result.good_requests, 1);
}

TEST(RecordsTest, ALevelThatIsNoTimeIsAnError) {
  for (const double level :
       {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    SimulatorOptions options = Options();
    options.service_levels.itl_s = level;
    EXPECT_THAT(Simulate(FourRequests(), options),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("service_levels.itl_s: expected seconds "
                                   "above 0")));
  }
}

}  // namespace
}  // namespace tidegate
