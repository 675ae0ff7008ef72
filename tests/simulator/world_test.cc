// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/world.h"

#include <memory>

#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

using ::tidegate::testing::StatusIs;

// Two heads of 4 dims in two bytes, 10 bytes of KV a token; one token a second.
WorldSetup SmallWorld() {
  WorldSetup setup;
  setup.options.attention = WorldAttention::kUnfused;
  setup.options.truth = std::make_shared<testing::FakeEstimator>();
  setup.options.q_heads = 2;
  setup.options.head_dim = 4;
  setup.options.kv_bytes_per_token = 10;
  setup.options.tokens_per_s = 1;
  setup.options.chunk_overhead_s = 0.5;
  setup.options.decode_tokens_per_s = 4;
  setup.ceiling = 1'000'000;
  setup.base = 1000;
  return setup;
}

World::Step Start(World& world, const Chunk& chunk) {
  return world.Start({&chunk, 1});
}

TEST(WorldTest, UnfusedWritesTheScoresOut) {
  World world(SmallWorld());
  EXPECT_EQ(Start(world, {.n = 8, .kv_len = 100}).transient,
            2 * 8 * 100 * 2 + 2 * 8 * 4 * 4);
}

TEST(WorldTest, AnArrayMaskMakesScoresFourBytesWide) {
  World world(SmallWorld());
  EXPECT_EQ(
      Start(world, {.n = 8, .kv_len = 100, .mask = MaskKind::kArray}).transient,
      2 * 8 * 100 * 4 + 2 * 8 * 4 * 4);
}

TEST(WorldTest, AStatedScoreWidthIsExactToAThousandth) {
  WorldSetup setup = SmallWorld();
  setup.options.score_millibytes = 2240;
  World world(setup);
  EXPECT_EQ(Start(world, {.n = 10, .kv_len = 100}).transient,
            2 * 10 * 100 * 224 / 100 + 2 * 10 * 4 * 4);
}

TEST(WorldTest, ATileBoundsTheRowsOfScores) {
  WorldSetup setup = SmallWorld();
  setup.options.attention = WorldAttention::kTiled;
  setup.options.tile = 3;
  World world(setup);
  EXPECT_EQ(Start(world, {.n = 8, .kv_len = 100}).transient,
            2 * 3 * 100 * 2 + 2 * 8 * 4 * 4);
}

TEST(WorldTest, FusedKeepsTheOutputAlone) {
  WorldSetup setup = SmallWorld();
  setup.options.attention = WorldAttention::kFused;
  World world(setup);
  EXPECT_EQ(Start(world, {.n = 8, .kv_len = 100}).transient, 2 * 8 * 4 * 4);
}

TEST(WorldTest, EveryChunkPaysWhatNoFormulaHas) {
  WorldSetup setup = SmallWorld();
  setup.options.attention = WorldAttention::kFused;
  setup.options.fixed_bytes = 7000;
  setup.options.per_token_bytes = 11;
  World world(setup);
  EXPECT_EQ(Start(world, {.n = 8, .kv_len = 100}).transient,
            7000 + 11 * 8 + 2 * 8 * 4 * 4);
}

TEST(WorldTest, SequencesOfOneStepAddUp) {
  WorldSetup setup = SmallWorld();
  setup.options.attention = WorldAttention::kFused;
  setup.options.fixed_bytes = 7000;
  World world(setup);
  const Chunk chunks[] = {{.n = 8, .kv_len = 100}, {.n = 2, .kv_len = 2}};
  const World::Step step = world.Start(chunks);
  EXPECT_EQ(step.transient, 7000 + 2 * 10 * 4 * 4);
  EXPECT_THAT(step.growth, ::testing::ElementsAre(80, 20));
  EXPECT_EQ(step.took, std::chrono::milliseconds(10'500));
}

TEST(WorldTest, AStepGrowsLiveMemoryWhenItEnds) {
  World world(SmallWorld());
  const World::Step step = Start(world, {.n = 8, .kv_len = 8});
  EXPECT_EQ(world.Live(), 1000);
  world.End(step);
  EXPECT_EQ(world.Live(), 1080);
}

TEST(WorldTest, AChunkThatFitsToTheByteRuns) {
  WorldSetup setup = SmallWorld();
  const Bytes needed = 1000 + 80 + 2 * 8 * 100 * 2 + 2 * 8 * 4 * 4;
  setup.ceiling = needed;
  World world(setup);
  const World::Step step = Start(world, {.n = 8, .kv_len = 100});
  EXPECT_TRUE(step.fits);
  EXPECT_EQ(step.peak, needed);
  EXPECT_EQ(world.peak(), needed);
}

TEST(WorldTest, OneByteLessRunsOutOfMemoryAndKeepsNothing) {
  WorldSetup setup = SmallWorld();
  setup.ceiling = 1000 + 80 + 2 * 8 * 100 * 2 + 2 * 8 * 4 * 4 - 1;
  World world(setup);
  EXPECT_FALSE(Start(world, {.n = 8, .kv_len = 100}).fits);
  EXPECT_EQ(world.Live(), 1000);
  EXPECT_EQ(world.peak(), 1000);
}

TEST(WorldTest, ScoresAboveTheLargestAllocationDoNotRun) {
  WorldSetup setup = SmallWorld();
  setup.max_allocation = 2 * 8 * 100 * 2 - 1;
  World world(setup);
  EXPECT_FALSE(Start(world, {.n = 8, .kv_len = 100}).fits);
}

TEST(WorldTest, TheOutputOfAFusedChunkIsItsLargestAllocation) {
  WorldSetup setup = SmallWorld();
  setup.options.attention = WorldAttention::kFused;
  setup.max_allocation = 2 * 8 * 4 * 4;
  World world(setup);
  EXPECT_TRUE(Start(world, {.n = 8, .kv_len = 100}).fits);
  setup.max_allocation = 2 * 8 * 4 * 4 - 1;
  World smaller(setup);
  EXPECT_FALSE(Start(smaller, {.n = 8, .kv_len = 100}).fits);
}

TEST(WorldTest, ThePoolKeepsTransientsAndUsesThemAgain) {
  WorldSetup setup = SmallWorld();
  setup.options.pool_keeps_transients = true;
  setup.options.kv_bytes_per_token = 0;
  World world(setup);
  const World::Step first = Start(world, {.n = 8, .kv_len = 100});
  world.End(first);
  EXPECT_EQ(world.Live(), 1000 + first.transient);
  const World::Step again = Start(world, {.n = 8, .kv_len = 50});
  EXPECT_EQ(again.peak, 1000 + first.transient);
  world.End(again);
  EXPECT_EQ(world.Live(), 1000 + first.transient);
}

TEST(WorldTest, WhatARunningStepUsesOfThePoolIsNotReclaimed) {
  WorldSetup setup = SmallWorld();
  setup.options.pool_keeps_transients = true;
  World world(setup);
  const World::Step wide = Start(world, {.n = 8, .kv_len = 100});
  world.End(wide);
  const World::Step narrow = Start(world, {.n = 4, .kv_len = 100});
  EXPECT_EQ(world.Reclaim("pool", 1'000'000),
            wide.transient - narrow.transient);
}

TEST(WorldTest, AReclaimFreesNoMoreThanIsAsked) {
  WorldSetup setup = SmallWorld();
  setup.reclaimables = {{.kind = "cache", .bytes = 600}};
  World world(setup);
  EXPECT_EQ(world.Reclaim("cache", 250), 250);
  EXPECT_EQ(world.Live(), 750);
  EXPECT_EQ(world.ReclaimableBytes("cache"), 350);
}

TEST(WorldTest, AnUnknownKindFreesNothing) {
  World world(SmallWorld());
  EXPECT_EQ(world.Reclaim("model", 250), 0);
}

TEST(WorldTest, ANewBaseKeepsWhatWasReclaimedTakenOff) {
  WorldSetup setup = SmallWorld();
  setup.reclaimables = {{.kind = "cache", .bytes = 600}};
  World world(setup);
  world.Reclaim("cache", 600);
  world.SetBase(5000);
  EXPECT_EQ(world.Live(), 4400);
}

TEST(WorldTest, CachedBlocksMakeWayBeforeAnythingRunsOut) {
  WorldSetup setup = SmallWorld();
  setup.cache = PrefixCacheOptions{.capacity = std::nullopt, .block = 10};
  setup.ceiling = 10'000;
  World world(setup);
  world.cache()->Extend(1, 800);  // 8000 bytes
  EXPECT_EQ(world.Live(), 1000);
  EXPECT_EQ(world.DeviceBytes(), 9000);
  // 80 bytes of growth, 3456 of transient beside 1000 live: 5464 are left.
  const World::Step step = Start(world, {.n = 8, .kv_len = 100});
  EXPECT_TRUE(step.fits);
  EXPECT_EQ(world.cache()->unpinned_bytes(), 5400);
  EXPECT_EQ(step.device_peak, 1000 + 80 + 3456 + 5400);
  EXPECT_EQ(step.peak, 1000 + 80 + 3456);
}

TEST(WorldTest, PinnedBlocksAreLive) {
  WorldSetup setup = SmallWorld();
  setup.cache = PrefixCacheOptions{.capacity = std::nullopt, .block = 10};
  World world(setup);
  world.cache()->Extend(1, 50);
  world.cache()->Pin(1, 30);
  EXPECT_EQ(world.Live(), 1300);
}

TEST(WorldTest, DecodingIsCountedInWholeTokens) {
  const World world(SmallWorld());
  EXPECT_EQ(world.DecodeTime(8), std::chrono::seconds(2));
  EXPECT_EQ(world.DecodedAfter(std::chrono::milliseconds(1749)), 6);
}

TEST(WorldTest, ASpeedOfZeroIsRefused) {
  WorldOptions options;
  options.tokens_per_s = 0;
  EXPECT_THAT(ValidateWorld(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "world.tokens_per_s: expected a number above 0"));
}

}  // namespace
}  // namespace tidegate::internal
