// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Worlds of a kind of their own: ranks that differ, a prefix cache that pins,
// spans that may not be cut, models that are not attention alone. In each
// nothing runs out of memory and whatever the oracle finishes is finished; that
// the ledger is zero at the end is an error of the run itself.

#include <algorithm>
#include <memory>
#include <vector>

#include "simulator/driver.h"
#include "tests/testing/worlds.h"

namespace tidegate {
namespace {

using testing::DrawTrace;
using ::testing::Each;
using testing::FalseRefusals;
using ::testing::Ge;
using testing::kWorldGiB;
using testing::PlayWorld;
using testing::TraceSpec;
using testing::UnfusedWorld;

void ExpectAsTheOracle(const Trace& trace, const SimulatorOptions& options) {
  const SimulationResult us = PlayWorld("", trace, options);
  const SimulationResult oracle = PlayWorld("oracle", trace, options);
  EXPECT_EQ(us.out_of_memory, 0);
  EXPECT_EQ(FalseRefusals(us, oracle), 0);
  EXPECT_GT(us.finished, us.requests / 2);
  EXPECT_LE(us.peak_bytes, us.ceiling_bytes);
}

// Three ranks alike but for what else they hold, and one with a lower ceiling.
SimulatorOptions FourRanks() {
  SimulatorOptions options = UnfusedWorld(30 * kWorldGiB);
  for (const auto& [ceiling, base] :
       {std::pair{30, 18}, {30, 21}, {26, 18}, {30, 24}}) {
    options.scheduler.ranks.push_back(
        {.ceiling = ceiling * kWorldGiB, .base = base * kWorldGiB});
  }
  return options;
}

TEST(TensorParallelWorldTest, TheRankWithTheLeastRoomDecides) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Trace trace = DrawTrace(seed, {.requests = 120});
    SimulatorOptions options = FourRanks();
    ExpectAsTheOracle(trace, options);
    // The same as one device of the fourth rank's 6 GiB, where nothing is
    // measured: ranks say peaks less what is live after the step.
    SimulatorOptions alone = UnfusedWorld(30 * kWorldGiB);
    alone.scheduler.memory.base = 24 * kWorldGiB;
    alone.scheduler.calibrate = false;
    options.scheduler.calibrate = false;
    const SimulationResult ranks = PlayWorld("", trace, options);
    const SimulationResult single = PlayWorld("", trace, alone);
    EXPECT_EQ(ranks.ceiling_bytes, 30 * kWorldGiB);
    EXPECT_EQ(ranks.peak_bytes, single.peak_bytes);
    EXPECT_EQ(ranks.finished, single.finished);
    EXPECT_EQ(ranks.chunks, single.chunks);
  }
}

TEST(TensorParallelWorldTest, EveryRankWaitsForTheStraggler) {
  const Trace trace = DrawTrace(4, {.requests = 80, .per_s = 5});
  SimulatorOptions options = FourRanks();
  const SimulationResult even = PlayWorld("", trace, options);
  options.world.rank_times = {1, 1.5, 1, 1};
  ExpectAsTheOracle(trace, options);
  const SimulationResult slow = PlayWorld("", trace, options);
  EXPECT_NEAR(even.tokens_per_s / slow.tokens_per_s, 1.5, 0.1);
}

// Conversations: each turn repeats the last prompt and answer.
Trace Conversations(std::uint64_t seed) {
  Trace trace = DrawTrace(seed, {.requests = 120, .prompt_median = 3'000});
  std::vector<Tokens> length(24, 0);
  for (std::size_t i = 0; i < trace.rows.size(); ++i) {
    TraceRow& row = trace.rows[i];
    row.session = static_cast<std::int64_t>(seed + i * i) % 24;
    Tokens& before = length[static_cast<std::size_t>(row.session)];
    row.cached_tokens = before;
    row.prompt_tokens += before;
    before = row.prompt_tokens + row.output_tokens;
  }
  return trace;
}

TEST(PrefixCacheWorldTest, WhatIsPinnedIsChargedOnceAndTheRestIsReused) {
  for (const std::uint64_t seed : {1, 2}) {
    const Trace trace = Conversations(seed);
    SimulatorOptions options = UnfusedWorld(25 * kWorldGiB);
    options.cache = {.capacity = 4 * kWorldGiB, .block = 64};
    ExpectAsTheOracle(trace, options);
    const SimulationResult us = PlayWorld("", trace, options);
    EXPECT_GT(us.cache_hit_tokens, us.computed_tokens / 10);
    EXPECT_GT(us.cache_evicted_blocks, 0);
  }
}

TEST(PrefixCacheWorldTest, ACacheOfAllThatIsFreeIsNoReasonToRefuse) {
  const Trace trace = Conversations(5);
  SimulatorOptions options = UnfusedWorld(25 * kWorldGiB);
  options.cache = {.capacity = std::nullopt, .block = 64};
  ExpectAsTheOracle(trace, options);
}

// Prompts with images of 1,200 and 576 tokens, which one chunk may not cut.
internal::DriverOptions Images(std::uint64_t seed, bool oracle) {
  const SimulatorOptions world = UnfusedWorld(22 * kWorldGiB);
  internal::DriverOptions options;
  options.scheduler = world.scheduler;
  if (oracle) {
    auto rival = MakeRival("oracle", world.scheduler, {});
    TG_CHECK(rival.ok());
    options.scheduler = *std::move(rival);
  }
  options.world.options = world.world;
  options.world.options.truth = world.scheduler.estimator;
  options.world.ceiling = world.scheduler.memory.ceiling;
  options.world.base = world.scheduler.memory.base;
  const Trace trace =
      DrawTrace(seed, {.requests = 100, .prompt_median = 15'000});
  for (std::size_t i = 0; i < trace.rows.size(); ++i) {
    const TraceRow& row = trace.rows[i];
    internal::DrivenRequest request;
    request.arrive.request = {.prompt_tokens = row.prompt_tokens,
                              .max_output_tokens = row.output_tokens};
    const Tokens image = i % 2 == 0 ? 1'200 : 576;
    for (Tokens at = 37; at + image <= row.prompt_tokens; at += image + 1'913) {
      request.arrive.request.uncuttable.push_back({at, image});
    }
    request.output_tokens = row.output_tokens;
    options.inputs.push_back({row.arrival, internal::ArriveInput{i}});
    options.requests.push_back(std::move(request));
  }
  return options;
}

TEST(ImageWorldTest, NoImageIsCutAndNothingIsRefusedForIt) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    internal::Driver us(Images(seed, /*oracle=*/false));
    internal::Driver oracle(Images(seed, /*oracle=*/true));
    ASSERT_THAT(us.Run(), testing::IsOk());
    ASSERT_THAT(oracle.Run(), testing::IsOk());
    EXPECT_EQ(us.totals().out_of_memory, 0);
    std::int64_t images = 0;
    for (std::size_t i = 0; i < us.requests().size(); ++i) {
      const internal::DrivenRequest& request = us.requests()[i];
      if (oracle.requests()[i].outcome == internal::Outcome::kFinished) {
        EXPECT_EQ(request.outcome, internal::Outcome::kFinished) << i;
      }
      Tokens at = 0;
      for (const Tokens width : request.widths) {
        at += width;
        if (at == request.arrive.request.prompt_tokens) at = 0;
        for (const Span& image : request.arrive.request.uncuttable) {
          EXPECT_FALSE(at > image.start && at < image.start + image.length)
              << "request " << i << " is cut at " << at;
        }
      }
      images += std::ssize(request.arrive.request.uncuttable);
    }
    EXPECT_GT(images, 300);
  }
}

// A quarter of the layers attends, the others carry a state.
TEST(HybridWorldTest, LinearLayersKeepAStateAndNoKv) {
  ModelShape shape = testing::DenseModel(
      {testing::FullMixer(16, 2, 256), testing::DeltaNetMixer()}, 2'048, 6'144,
      151'936);
  shape.layers.clear();
  for (int i = 0; i < 32; ++i)
    shape.layers.push_back({.mixer = i % 4 == 3 ? 0 : 1});
  for (const std::uint64_t seed : {1, 2}) {
    SimulatorOptions options = UnfusedWorld(24 * kWorldGiB);
    options.scheduler.estimator = testing::WorldEstimator(shape);
    ExpectAsTheOracle(DrawTrace(seed, {.requests = 100}), options);
  }
}

// Five of six layers attend to the last 1,024 tokens.
TEST(HybridWorldTest, SlidingWindowsFillAndStayFull) {
  ModelShape shape =
      testing::DenseModel({testing::FullMixer(16, 8, 256),
                           testing::SlidingMixer(16, 8, 256, 1'024)},
                          3'072, 12'288, 262'144);
  shape.layers.clear();
  for (int i = 0; i < 24; ++i)
    shape.layers.push_back({.mixer = i % 6 == 5 ? 0 : 1});
  for (const std::uint64_t seed : {1, 2}) {
    SimulatorOptions options = UnfusedWorld(26 * kWorldGiB);
    options.scheduler.estimator = testing::WorldEstimator(shape);
    ExpectAsTheOracle(DrawTrace(seed, {.requests = 100}), options);
  }
}

}  // namespace
}  // namespace tidegate
