// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"
#include "tidegate/simulator.h"

namespace tidegate {
namespace {

using ::tidegate::testing::StatusIs;

constexpr Bytes kMiB = Bytes{1} << 20;

// One layer of 8 heads of 64, 512 bytes of KV a token, fused attention.
std::shared_ptr<const Estimator> FusedEstimator() {
  EstimatorOptions options;
  options.shape = testing::AttentionOnly(testing::FullMixer(8, 2, 64));
  options.use = "fused";
  absl::StatusOr<CreatedEstimator> created = CreateEstimator(options);
  EXPECT_THAT(created, testing::IsOk());
  return std::move(created->estimator);
}

constexpr Bytes kTokenBytes = 2 * 2 * 64 * 2;

SimulatorOptions Options() {
  SimulatorOptions options;
  options.scheduler.estimator = FusedEstimator();
  options.scheduler.memory = {.ceiling = 100 * kMiB, .base = 10 * kMiB};
  options.world.tokens_per_s = 1000;
  options.world.chunk_overhead_s = 0;
  options.world.decode_tokens_per_s = 10;
  return options;
}

TraceRow Row(double at_s, Tokens prompt, Tokens cached = 0, Tokens output = 10,
             std::int64_t session = 0) {
  return {.arrival = Instant(Duration(static_cast<std::int64_t>(at_s * 1e9))),
          .prompt_tokens = prompt,
          .cached_tokens = cached,
          .output_tokens = output,
          .session = session};
}

TEST(SimulateTest, ATimerSaysHowLongStepsTake) {
  SimulatorOptions options = Options();
  options.scheduler.chunk.max = 1024;
  // 1 ms a token, 1 us a token that is already there: 4.096 s and 6 * 1.024 ms.
  options.world.timer = CreateStepTimer(
      TimeModel{.per_kv_ps = 1'000'000, .per_token_ps = 1'000'000'000});
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate({.rows = {Row(5, 4096)}}, options));
  EXPECT_EQ(result.chunks, 4);
  EXPECT_NEAR(result.ttft_p50_s, 4.096 + 0.006'144, 1e-6);
}

TEST(SimulateTest, AnAllocatorOfSeveralStepsAtOnceIsRefused) {
  SimulatorOptions options = Options();
  options.world.allocator = AllocatorOptions{};
  options.scheduler.step.in_flight = 2;
  EXPECT_THAT(
      Simulate({.rows = {Row(5, 4000)}}, options),
      StatusIs(absl::StatusCode::kInvalidArgument,
               "world.allocator: expected none where several steps run at "
               "once"));
}

TEST(SimulateTest, AReadingThatLagsLeadsToNoFailure) {
  SimulatorOptions options = Options();
  options.world.reading_lag = std::chrono::milliseconds(500);
  options.scheduler.reading_lag = options.world.reading_lag;
  Trace trace;
  for (int i = 0; i < 20; ++i) trace.rows.push_back(Row(i, 4000 + 500 * i));
  const auto result = Simulate(trace, options);
  ASSERT_THAT(result, testing::IsOk());
  EXPECT_EQ(result->out_of_memory, 0);
  EXPECT_EQ(result->finished + result->rejected, 20);
  EXPECT_LE(result->peak_bytes, result->ceiling_bytes);
}

TEST(SimulateTest, OtherTenantsMemoryNarrowsWhatRuns) {
  SimulatorOptions options = Options();
  const Bytes room =
      options.scheduler.memory.ceiling - options.scheduler.memory.base;
  options.world.tenants = {{Instant{std::chrono::seconds(2)}, room / 2},
                           {Instant{std::chrono::seconds(30)}, 0}};
  Trace trace;
  for (int i = 0; i < 20; ++i) trace.rows.push_back(Row(i, 6000));
  const auto result = Simulate(trace, options);
  ASSERT_THAT(result, testing::IsOk());
  EXPECT_EQ(result->finished, 20);
  EXPECT_EQ(result->out_of_memory, 0);
}

TEST(SimulateTest, AnAllocatorHoldsWhatStepsNeeded) {
  SimulatorOptions options = Options();
  const auto peak = [&] {
    const auto result = Simulate({.rows = {Row(0, 60'000)}}, options);
    EXPECT_THAT(result, testing::IsOk());
    return result->peak_bytes;
  };
  const Bytes plain = peak();
  options.world.allocator = AllocatorOptions{};
  EXPECT_GE(peak(), plain);
}

TEST(SimulateTest, AnErrorOfTimeSlowsTheRun) {
  SimulatorOptions options = Options();
  options.world.time_error.factor = 1.5;
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate({.rows = {Row(5, 4000)}}, options));
  EXPECT_DOUBLE_EQ(result.ttft_p50_s, 6.0);
}

TEST(SimulateTest, OneRequestTakesTheTimeThatTheWorldSays) {
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate({.rows = {Row(5, 4000)}}, Options()));
  EXPECT_EQ(result.requests, 1);
  EXPECT_EQ(result.finished, 1);
  EXPECT_EQ(result.computed_tokens, 4000);
  EXPECT_DOUBLE_EQ(result.ttft_p50_s, 4.0);
  EXPECT_DOUBLE_EQ(result.span_s, 5.0);
  EXPECT_DOUBLE_EQ(result.tokens_per_s, 800.0);
}

TEST(SimulateTest, AnEmptyTraceGivesZeros) {
  ASSERT_OK_AND_ASSIGN(const SimulationResult result, Simulate({}, Options()));
  EXPECT_EQ(result.requests, 0);
  EXPECT_EQ(result.tokens_per_s, 0);
  EXPECT_EQ(result.peak_bytes, 10 * kMiB);
}

TEST(SimulateTest, PercentilesAreNearestRank) {
  Trace trace;
  // Far apart, so that none waits: first tokens after 1, 2, 3 and 4 s.
  for (int i = 0; i < 4; ++i) {
    trace.rows.push_back(Row(100.0 * i, 1000 * (i + 1), 0, 0, i));
  }
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate(trace, Options()));
  EXPECT_DOUBLE_EQ(result.ttft_p50_s, 2.0);
  EXPECT_DOUBLE_EQ(result.ttft_p99_s, 4.0);
}

TEST(SimulateTest, APromptThatNeverFitsIsCountedByItsCode) {
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate({.rows = {Row(0, 1'000'000)}}, Options()));
  EXPECT_EQ(result.rejected, 1);
  EXPECT_EQ(result.computed_tokens, 0);
  EXPECT_THAT(result.refusals,
              ::testing::ElementsAre(::testing::Pair("too_large", 1)));
}

TEST(SimulateTest, ATurnFindsThePromptAndAnswerOfTheTurnBefore) {
  // 1,000 prompt and 20 output tokens are 15 whole blocks of 64.
  ASSERT_OK_AND_ASSIGN(
      const SimulationResult result,
      Simulate({.rows = {Row(0, 1000, 0, 20), Row(60, 2000, 1010, 20)}},
               Options()));
  EXPECT_EQ(result.cache_hit_tokens, 960);
  EXPECT_EQ(result.cache_recomputed_tokens, 50);
  EXPECT_EQ(result.computed_tokens, 1000 + 1040);
}

TEST(SimulateTest, WithoutACacheEveryPromptIsComputedWhole) {
  SimulatorOptions options = Options();
  options.cache.capacity = 0;
  ASSERT_OK_AND_ASSIGN(
      const SimulationResult result,
      Simulate({.rows = {Row(0, 1000, 0, 20), Row(60, 2000, 1010, 20)}},
               options));
  EXPECT_EQ(result.cache_hit_tokens, 0);
  EXPECT_EQ(result.cache_recomputed_tokens, 1010);
  EXPECT_EQ(result.computed_tokens, 3000);
}

TEST(SimulateTest, AnotherSessionsPrefixIsNoHit) {
  ASSERT_OK_AND_ASSIGN(
      const SimulationResult result,
      Simulate({.rows = {Row(0, 1000, 0, 20, 1), Row(60, 2000, 1000, 20, 2)}},
               Options()));
  EXPECT_EQ(result.cache_hit_tokens, 0);
}

TEST(SimulateTest, AnEvictedPrefixIsComputedAgain) {
  SimulatorOptions options = Options();
  // Holds one of the two conversations.
  options.cache.capacity = 1100 * kTokenBytes;
  ASSERT_OK_AND_ASSIGN(
      const SimulationResult result,
      Simulate({.rows = {Row(0, 1024, 0, 0, 1), Row(60, 1024, 0, 0, 2),
                         Row(120, 2048, 1024, 0, 1)}},
               options));
  EXPECT_EQ(result.cache_hit_tokens, 64);
  EXPECT_EQ(result.cache_recomputed_tokens, 1024 - 64);
  EXPECT_EQ(result.computed_tokens, 1024 + 1024 + 2048 - 64);
}

TEST(SimulateTest, CachedBlocksAreDroppedForWork) {
  SimulatorOptions options = Options();
  // 90 MiB above base: 180,000 tokens. The second prompt needs most of it.
  ASSERT_OK_AND_ASSIGN(
      const SimulationResult result,
      Simulate({.rows = {Row(0, 100'000, 0, 0, 1), Row(500, 150'000, 0, 0, 2)}},
               options));
  EXPECT_EQ(result.finished, 2);
  EXPECT_EQ(result.out_of_memory, 0);
  EXPECT_GT(result.cache_evicted_blocks, 0);
  EXPECT_LE(result.peak_bytes, result.ceiling_bytes);
}

TEST(SimulateTest, AWorldThatNeedsMoreThanThePriceRunsOutOfMemory) {
  SimulatorOptions options = Options();
  // Below what a first wide chunk takes beside this, above a narrow one.
  options.world.per_token_bytes = 60'000;
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate({.rows = {Row(0, 4000)}}, options));
  EXPECT_GT(result.out_of_memory, 0);
  EXPECT_LE(result.peak_bytes, result.ceiling_bytes);
}

TEST(SimulateTest, TwoRunsWriteTheSameEventLog) {
  Trace trace;
  for (int i = 0; i < 200; ++i) {
    trace.rows.push_back(
        Row(0.3 * i, 500 + 37 * (i % 50), (i % 5) * 100, i % 40, i % 7));
  }
  std::vector<std::string> logs(2);
  for (std::string& log : logs) {
    SimulatorOptions options = Options();
    options.event_log = [&log](std::string_view line) { log += line; };
    ASSERT_THAT(Simulate(trace, options), testing::IsOk());
  }
  EXPECT_GT(std::count(logs[0].begin(), logs[0].end(), '\n'), 1000);
  EXPECT_EQ(logs[0], logs[1]);
}

TEST(SimulateTest, TheEventLogSaysWhatHappenedInOrder) {
  std::string log;
  SimulatorOptions options = Options();
  options.event_log = [&log](std::string_view line) { log += line; };
  ASSERT_THAT(Simulate({.rows = {Row(0, 100, 0, 1)}}, options),
              testing::IsOk());
  std::size_t at = 0;
  for (const char* word :
       {"{\"t\":0,\"event\":\"arrive\",\"id\":1,\"prompt_tokens\":100,",
        "{\"t\":0,\"action\":\"admit\",\"id\":1,",
        "{\"t\":0,\"action\":\"run_step\",\"step\":1,\"chunks\":[{\"id\":1,"
        "\"start\":0,\"n\":100,\"kv_len\":100,\"bound\":\"prompt\"}],",
        "{\"t\":100000000,\"event\":\"step_done\",\"step\":1,",
        "{\"t\":100000000,\"action\":\"start_decode\",\"id\":1}\n",
        "{\"t\":200000000,\"event\":\"decode_progress\",\"id\":1,\"tokens\":1}",
        "{\"t\":200000000,\"event\":\"finished\",\"id\":1}\n"}) {
    at = log.find(word, at);
    ASSERT_NE(at, std::string::npos) << word << "\n" << log;
  }
}

TEST(SimulateTest, ProgressAscendsToOne) {
  std::vector<double> told;
  SimulatorOptions options = Options();
  options.progress = [&told](double share) { told.push_back(share); };
  Trace trace;
  for (int i = 0; i < 10; ++i) trace.rows.push_back(Row(i, 100, 0, 1, i));
  ASSERT_THAT(Simulate(trace, options), testing::IsOk());
  EXPECT_EQ(told.size(), 10u);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_EQ(told.back(), 1.0);
}

TEST(SimulateTest, TheSeriesHasOnePointForEachChunk) {
  SimulatorOptions options = Options();
  options.want_series = true;
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate({.rows = {Row(0, 5000)}}, options));
  ASSERT_EQ(static_cast<std::int64_t>(result.series.size()), result.chunks);
  EXPECT_EQ(result.series[0].live_bytes, 10 * kMiB);
  EXPECT_EQ(result.series[0].width, 2048);
  EXPECT_GT(result.series[0].peak_bytes, result.series[0].live_bytes);
}

TEST(SimulateTest, ABudgetCutsWhatIsGenerated) {
  SimulatorOptions options = Options();
  options.max_output_tokens = 5;
  ASSERT_OK_AND_ASSIGN(const SimulationResult result,
                       Simulate({.rows = {Row(0, 1000, 0, 500)}}, options));
  EXPECT_DOUBLE_EQ(result.span_s, 1.5);
}

TEST(SimulateTest, AMissingEstimatorIsAnError) {
  EXPECT_THAT(Simulate({}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "scheduler.estimator: expected an estimator"));
}

TEST(SimulateTest, AnUnsortedTraceIsAnError) {
  EXPECT_THAT(Simulate({.rows = {Row(1, 5), Row(0, 5)}}, Options()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "trace.rows[1]: expected arrivals in order and 0 <= "
                       "cached_tokens < prompt_tokens"));
}

TEST(SimulateTest, TheShippedTraceEndsWithEveryRequestServed) {
  ASSERT_OK_AND_ASSIGN(const Trace trace,
                       LoadTrace(std::string(TIDEGATE_SOURCE_DIR) +
                                 "/examples/traces/mooncake_conversation.csv"));
  SimulatorOptions options = Options();
  options.scheduler.memory.ceiling = 400 * kMiB;
  options.world.tokens_per_s = 100'000;
  options.world.decode_tokens_per_s = 50;
  ASSERT_OK_AND_ASSIGN(const SimulationResult result, Simulate(trace, options));
  EXPECT_EQ(result.finished, 600);
  EXPECT_EQ(result.out_of_memory, 0);
  EXPECT_EQ(result.computed_tokens + result.cache_hit_tokens, 8'293'542);
}

}  // namespace
}  // namespace tidegate
