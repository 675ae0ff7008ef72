// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What the simulated device does that the scheduler is not told.

#include <memory>
#include <string>
#include <vector>

#include "simulator/caching_allocator.h"
#include "simulator/lagged_reading.h"
#include "simulator/world.h"
#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

using ::testing::HasSubstr;
using ::tidegate::testing::StatusIs;

constexpr Bytes kMiB = Bytes{1} << 20;

Instant At(std::int64_t ms) { return Instant(std::chrono::milliseconds(ms)); }

// Where a token's scores come to a MiB.
constexpr Tokens kKeys = 524'288;

// A step of n tokens behind so many keys needs one buffer of n MiB; 10 bytes of
// KV a token.
WorldSetup PlainWorld() {
  WorldSetup setup;
  setup.options.attention = WorldAttention::kUnfused;
  setup.options.truth = std::make_shared<testing::FakeEstimator>();
  setup.options.q_heads = 1;
  setup.options.kv_bytes_per_token = 10;
  setup.options.tokens_per_s = 1000;
  setup.options.chunk_overhead_s = 0.5;
  setup.ceiling = 1000 * kMiB;
  setup.base = 1000;
  return setup;
}

World::Step Start(World& world, Tokens n) {
  const Chunk chunk{.n = n, .kv_len = kKeys};
  return world.Start({&chunk, 1});
}

TEST(HiddenWorldTest, ATimerReplacesTheSpeed) {
  WorldSetup setup = PlainWorld();
  setup.options.timer = CreateStepTimer(
      TimeModel{.fixed_ps = 7'000'000, .per_token_ps = 2'000'000});
  World world(setup);
  EXPECT_EQ(Start(world, 4).took, std::chrono::microseconds(15));
}

TEST(HiddenWorldTest, ATimerCountsTheDecodesOfAStep) {
  WorldSetup setup = PlainWorld();
  setup.options.timer = CreateStepTimer(
      TimeModel{.fixed_ps = 7'000'000, .per_token_ps = 2'000'000});
  World world(setup);
  const Chunk chunk{.n = 4, .kv_len = 100};
  const Tokens decodes[] = {10, 20, 30};
  EXPECT_EQ(world.Start({&chunk, 1}, decodes).took,
            std::chrono::microseconds(21));
}

TEST(HiddenWorldTest, DecodesOfAStepNeedMemoryToo) {
  World world(PlainWorld());
  const Chunk chunk{.n = 4, .kv_len = kKeys};
  const Tokens decodes[] = {kKeys, kKeys, kKeys};
  const World::Step step = world.Start({&chunk, 1}, decodes);
  EXPECT_EQ(step.transient, 7 * kMiB);
  EXPECT_THAT(step.growth, ::testing::ElementsAre(40));
  world.End(step);
  EXPECT_EQ(world.Start({}, decodes).transient, 3 * kMiB);
}

// The driver takes the compute time off again: what is left is the overhead.
TEST(HiddenWorldTest, AStepThatFailsShowsItAfterTheOverhead) {
  WorldSetup setup = PlainWorld();
  setup.options.timer = CreateStepTimer(TimeModel{.per_token_ps = 2'000'000});
  World world(setup);
  const World::Step step = Start(world, 2000);
  EXPECT_FALSE(step.fits);
  EXPECT_EQ(step.took - world.PrefillTime(2000),
            std::chrono::milliseconds(500));
}

TEST(HiddenWorldTest, AnErrorOfTimeIsAFactorDrawnForEachStep) {
  WorldSetup setup = PlainWorld();
  setup.options.time_error = {.factor = 2, .spread = 0.25};
  World world(setup);
  Duration least = Duration::max();
  Duration most{};
  for (int i = 0; i < 200; ++i) {
    const World::Step step = Start(world, 100);
    world.End(step);
    least = std::min(least, step.took);
    most = std::max(most, step.took);
  }
  // 0.6 s plain: 0.9 to 1.5 s, and near to both ends.
  EXPECT_GE(least, std::chrono::milliseconds(900));
  EXPECT_LE(least, std::chrono::milliseconds(930));
  EXPECT_LE(most, std::chrono::milliseconds(1500));
  EXPECT_GE(most, std::chrono::milliseconds(1470));
}

TEST(HiddenWorldTest, TheSameSeedDrawsTheSameErrors) {
  WorldSetup setup = PlainWorld();
  setup.options.time_error.spread = 0.5;
  setup.options.price_error.spread = 0.5;
  World first(setup);
  World second(setup);
  setup.options.seed = 1;
  World other(setup);
  bool differs = false;
  for (int i = 1; i < 20; ++i) {
    const World::Step a = Start(first, i);
    const World::Step b = Start(second, i);
    const World::Step c = Start(other, i);
    EXPECT_EQ(a.took, b.took);
    EXPECT_EQ(a.transient, b.transient);
    differs = differs || a.took != c.took || a.transient != c.transient;
    first.End(a);
    second.End(b);
    other.End(c);
  }
  EXPECT_TRUE(differs);
}

TEST(HiddenWorldTest, AnErrorOfPriceIsTheSameForTheSameStep) {
  WorldSetup setup = PlainWorld();
  setup.options.price_error = {.factor = 1.5, .spread = 0.2};
  World world(setup);
  const World::Step first = Start(world, 100);
  world.End(first);
  const World::Step wider = Start(world, 101);
  world.End(wider);
  EXPECT_EQ(Start(world, 100).transient, first.transient);
  EXPECT_NE(wider.transient, first.transient);
  EXPECT_GE(first.transient, 120 * kMiB);
  EXPECT_LE(first.transient, 180 * kMiB);
}

TEST(HiddenWorldTest, WithoutErrorsNothingIsScaled) {
  World world(PlainWorld());
  EXPECT_EQ(Start(world, 100).transient, 100 * kMiB);
}

TEST(HiddenWorldTest, AReadingIsAsOldAsItsLag) {
  WorldSetup setup = PlainWorld();
  setup.options.reading_lag = std::chrono::milliseconds(100);
  World world(setup);
  world.SetNow(At(50));
  world.AddResident(500);
  EXPECT_EQ(world.Live(), 1000);
  EXPECT_EQ(world.LiveNow(), 1500);
  EXPECT_EQ(world.NextChange(), At(150));
  world.SetNow(At(120));
  world.AddResident(70);
  world.SetNow(At(149));
  EXPECT_EQ(world.Live(), 1000);
  world.SetNow(At(150));
  EXPECT_EQ(world.Live(), 1500);
  EXPECT_EQ(world.NextChange(), At(220));
  world.SetNow(At(1000));
  EXPECT_EQ(world.Live(), 1570);
  EXPECT_EQ(world.NextChange(), std::nullopt);
}

TEST(HiddenWorldTest, WhatIsShortLivedIsStillRead) {
  WorldSetup setup = PlainWorld();
  setup.options.reading_lag = std::chrono::milliseconds(100);
  World world(setup);
  world.SetNow(At(10));
  world.AddResident(500);
  world.SetNow(At(20));
  world.AddResident(-500);
  world.SetNow(At(115));
  EXPECT_EQ(world.Live(), 1500);
  EXPECT_EQ(world.LiveNow(), 1000);
  world.SetNow(At(120));
  EXPECT_EQ(world.Live(), 1000);
}

TEST(HiddenWorldTest, AStepNeedsWhatIsLiveNowWhateverWasRead) {
  WorldSetup setup = PlainWorld();
  setup.options.reading_lag = std::chrono::hours(1);
  World world(setup);
  world.SetNow(At(1));
  world.AddResident(950 * kMiB);
  EXPECT_EQ(world.Live(), 1000);
  EXPECT_FALSE(Start(world, 100).fits);
}

TEST(HiddenWorldTest, OthersTakeAndLeaveMemoryAtTheirMoments) {
  WorldSetup setup = PlainWorld();
  setup.options.tenants = {{At(100), 900 * kMiB}, {At(200), 5000}};
  World world(setup);
  EXPECT_EQ(world.Live(), 1000);
  EXPECT_EQ(world.NextChange(), At(100));
  world.SetNow(At(99));
  EXPECT_EQ(world.Live(), 1000);
  world.SetNow(At(100));
  EXPECT_EQ(world.Live(), 1000 + 900 * kMiB);
  EXPECT_FALSE(Start(world, 200).fits);
  world.SetNow(At(250));
  EXPECT_EQ(world.Live(), 6000);
  EXPECT_TRUE(Start(world, 200).fits);
  EXPECT_EQ(world.NextChange(), std::nullopt);
}

TEST(HiddenWorldTest, ATenantOfTheStartIsThereAtTheStart) {
  WorldSetup setup = PlainWorld();
  setup.options.tenants = {{Instant{}, 77}};
  EXPECT_EQ(World(setup).Live(), 1077);
}

TEST(HiddenWorldTest, BadOptionsAreNamed) {
  const auto message = [](auto change) {
    WorldOptions options = PlainWorld().options;
    change(options);
    const absl::Status status = ValidateWorld(options);
    return std::string(status.message());
  };
  EXPECT_THAT(message([](auto& o) { o.time_error.factor = 0; }),
              HasSubstr("world.time_error: expected a factor above 0"));
  EXPECT_THAT(message([](auto& o) { o.price_error.spread = 1; }),
              HasSubstr("world.price_error: expected a spread"));
  EXPECT_THAT(message([](auto& o) { o.reading_lag = Duration(-1); }),
              HasSubstr("world.reading_lag: expected a time from 0"));
  EXPECT_THAT(message([](auto& o) {
                o.tenants = {{At(2), 1}, {At(1), 1}};
              }),
              HasSubstr("world.tenants: expected moments in order"));
  EXPECT_THAT(message([](auto& o) {
                o.pool_keeps_transients = true;
                o.allocator = AllocatorOptions{};
              }),
              HasSubstr("world.allocator: expected not both"));
  EXPECT_EQ(message([](auto&) {}), "");
}

TEST(CachingAllocatorTest, ASegmentIsUsedAgainByWhatFits) {
  CachingAllocator allocator({});
  ASSERT_TRUE(allocator.Take(100 * kMiB, 100 * kMiB, 1000 * kMiB));
  EXPECT_EQ(allocator.reserved(), 100 * kMiB);
  EXPECT_EQ(allocator.Free(), 0);
  allocator.Release();
  EXPECT_EQ(allocator.Free(), 100 * kMiB);
  ASSERT_TRUE(allocator.Take(80 * kMiB, 60 * kMiB, 1000 * kMiB));
  EXPECT_EQ(allocator.reserved(), 100 * kMiB);
}

TEST(CachingAllocatorTest, SizesAreRoundedAsTorchDoes) {
  const auto reserved = [](Bytes bytes) {
    CachingAllocator allocator({});
    EXPECT_TRUE(allocator.Take(bytes, bytes, kBytesMax));
    return allocator.reserved();
  };
  EXPECT_EQ(reserved(100), 2 * kMiB);
  EXPECT_EQ(reserved(kMiB + 1), 20 * kMiB);
  EXPECT_EQ(reserved(10 * kMiB), 10 * kMiB);
  EXPECT_EQ(reserved(11 * kMiB), 12 * kMiB);
}

TEST(CachingAllocatorTest, ABufferThatGrowsNeverFitsAnEarlierOne) {
  CachingAllocator plain({});
  CachingAllocator expandable({.expandable = true});
  for (Bytes size = 10; size <= 100; size += 10) {
    ASSERT_TRUE(plain.Take(size * kMiB, size * kMiB, kBytesMax));
    plain.Release();
    ASSERT_TRUE(expandable.Take(size * kMiB, size * kMiB, kBytesMax));
    expandable.Release();
  }
  EXPECT_EQ(plain.reserved(), 550 * kMiB);
  EXPECT_EQ(expandable.reserved(), 100 * kMiB);
}

TEST(CachingAllocatorTest, GivesFreeSegmentsBackBeforeItFails) {
  CachingAllocator allocator({});
  ASSERT_TRUE(allocator.Take(60 * kMiB, 60 * kMiB, 100 * kMiB));
  allocator.Release();
  ASSERT_TRUE(allocator.Take(80 * kMiB, 80 * kMiB, 100 * kMiB));
  EXPECT_EQ(allocator.reserved(), 80 * kMiB);
  allocator.Release();
  EXPECT_FALSE(allocator.Take(120 * kMiB, 120 * kMiB, 100 * kMiB));
  EXPECT_EQ(allocator.reserved(), 0);
}

TEST(CachingAllocatorTest, GivesWholeFreeSegmentsBackWhenAsked) {
  CachingAllocator allocator({});
  ASSERT_TRUE(allocator.Take(40 * kMiB, 40 * kMiB, kBytesMax));
  allocator.Release();
  ASSERT_TRUE(allocator.Take(60 * kMiB, 60 * kMiB, kBytesMax));
  EXPECT_EQ(allocator.Free(), 40 * kMiB);
  EXPECT_EQ(allocator.GiveBack(kMiB), 40 * kMiB);
  EXPECT_EQ(allocator.GiveBack(kMiB), 0);
  EXPECT_EQ(allocator.reserved(), 60 * kMiB);
}

TEST(HiddenWorldTest, TheDeviceSeesWhatTheAllocatorHolds) {
  WorldSetup setup = PlainWorld();
  setup.options.allocator = AllocatorOptions{};
  World world(setup);
  for (const Tokens n : {20, 40, 60}) {
    const World::Step step = Start(world, n);
    ASSERT_TRUE(step.fits);
    world.End(step);
  }
  const Bytes kv = (20 + 40 + 60) * 10;
  const Bytes reserved = world.Live() - 1000 - kv;
  // Each step's own bytes: nothing that was freed was large enough.
  EXPECT_EQ(reserved, (20 + 40 + 60) * kMiB);
  EXPECT_EQ(world.ReclaimableBytes("pool"), reserved);
  EXPECT_EQ(world.Reclaim("pool", reserved), reserved);
  EXPECT_EQ(world.Live(), 1000 + kv);
}

TEST(HiddenWorldTest, WhatIsHeldIsGivenUpBeforeAStepFails) {
  WorldSetup setup = PlainWorld();
  setup.options.allocator = AllocatorOptions{};
  setup.ceiling = 110 * kMiB;
  World world(setup);
  for (const Tokens n : {60, 80, 100}) {
    const World::Step step = Start(world, n);
    EXPECT_TRUE(step.fits) << n;
    EXPECT_LE(step.peak, setup.ceiling);
    world.End(step);
  }
  EXPECT_FALSE(Start(world, 120).fits);
  EXPECT_EQ(world.ReclaimableBytes("pool"), 0);
}

}  // namespace
}  // namespace tidegate::internal
