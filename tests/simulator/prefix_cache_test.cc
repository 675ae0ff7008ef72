// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/prefix_cache.h"

#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

// Blocks of 10 tokens and 100 bytes.
PrefixCache Cache(std::optional<Bytes> capacity = std::nullopt) {
  return PrefixCache(10, 100, capacity);
}

TEST(PrefixCacheTest, AnUnknownSessionHitsNothing) {
  EXPECT_EQ(Cache().Hit(1, 1000), 0);
}

TEST(PrefixCacheTest, OnlyWholeBlocksAreKept) {
  PrefixCache cache = Cache();
  cache.Extend(1, 39);
  EXPECT_EQ(cache.Hit(1, 1000), 30);
}

TEST(PrefixCacheTest, AHitIsBoundedByWhatThePromptShares) {
  PrefixCache cache = Cache();
  cache.Extend(1, 100);
  EXPECT_EQ(cache.Hit(1, 25), 20);
}

TEST(PrefixCacheTest, BlocksThatTwoRequestsPinAreChargedOnce) {
  PrefixCache cache = Cache();
  cache.Extend(1, 100);
  cache.Pin(1, 60);
  cache.Pin(1, 40);
  EXPECT_EQ(cache.pinned_bytes(), 600);
  EXPECT_EQ(cache.unpinned_bytes(), 400);
}

TEST(PrefixCacheTest, APinHoldsUntilTheLastOfItsRequestsEnds) {
  PrefixCache cache = Cache();
  cache.Extend(1, 100);
  cache.Pin(1, 60);
  cache.Pin(1, 60);
  cache.Unpin(1, 60);
  EXPECT_EQ(cache.pinned_bytes(), 600);
  cache.Unpin(1, 60);
  EXPECT_EQ(cache.pinned_bytes(), 0);
}

TEST(PrefixCacheTest, OnlyUnpinnedBlocksOfAPrefixCostMore) {
  PrefixCache cache = Cache();
  cache.Extend(1, 100);
  cache.Pin(1, 40);
  EXPECT_EQ(cache.UnpinnedBytes(1, 70), 300);
  EXPECT_EQ(cache.UnpinnedBytes(1, 30), 0);
}

TEST(PrefixCacheTest, ChainsLoseBlocksAtTheirTail) {
  PrefixCache cache = Cache();
  cache.Extend(1, 100);
  cache.ShrinkUnpinned(700);
  EXPECT_EQ(cache.Hit(1, 1000), 70);
  EXPECT_EQ(cache.evicted_blocks(), 3);
}

TEST(PrefixCacheTest, TheSessionLeastRecentlyUsedGoesFirst) {
  PrefixCache cache = Cache();
  cache.Extend(1, 50);
  cache.Extend(2, 50);
  cache.Pin(1, 10);  // A use: now session 2 is the older one.
  cache.Unpin(1, 10);
  cache.ShrinkUnpinned(500);
  EXPECT_EQ(cache.Hit(1, 1000), 50);
  EXPECT_EQ(cache.Hit(2, 1000), 0);
}

TEST(PrefixCacheTest, PinnedBlocksAreNeverDropped) {
  PrefixCache cache = Cache();
  cache.Extend(1, 50);
  cache.Pin(1, 30);
  cache.ShrinkUnpinned(0);
  EXPECT_EQ(cache.Hit(1, 1000), 30);
  EXPECT_EQ(cache.unpinned_bytes(), 0);
}

TEST(PrefixCacheTest, ANegativeAllowanceDropsAllThatIsUnpinned) {
  PrefixCache cache = Cache();
  cache.Extend(1, 50);
  cache.ShrinkUnpinned(-12345);
  EXPECT_EQ(cache.unpinned_bytes(), 0);
}

TEST(PrefixCacheTest, TheCapacityBoundsAllBlocks) {
  PrefixCache cache = Cache(Bytes{500});
  cache.Extend(1, 30);
  cache.Extend(2, 40);
  EXPECT_EQ(cache.Hit(1, 1000), 10);
  EXPECT_EQ(cache.Hit(2, 1000), 40);
}

TEST(PrefixCacheTest, AChainStopsAtTheCapacityWhereAllElseIsPinned) {
  PrefixCache cache = Cache(Bytes{500});
  cache.Extend(1, 30);
  cache.Pin(1, 30);
  cache.Extend(2, 40);
  EXPECT_EQ(cache.Hit(2, 1000), 20);
  EXPECT_EQ(cache.evicted_blocks(), 0);
}

TEST(PrefixCacheTest, AGrowingChainKeepsItsOwnTail) {
  PrefixCache cache = Cache(Bytes{500});
  cache.Extend(1, 40);
  cache.Extend(1, 90);
  EXPECT_EQ(cache.Hit(1, 1000), 50);
  EXPECT_EQ(cache.evicted_blocks(), 0);
}

TEST(PrefixCacheTest, ChangesAreReportedOnceAndAscending) {
  PrefixCache cache = Cache();
  cache.Extend(7, 50);
  cache.Extend(3, 50);
  cache.Pin(7, 20);
  EXPECT_THAT(cache.TakeChanged(), ::testing::ElementsAre(3, 7));
  EXPECT_THAT(cache.TakeChanged(), ::testing::IsEmpty());
}

TEST(PrefixCacheTest, BlocksOfNoBytesAreNeverDropped) {
  PrefixCache cache(10, 0, std::nullopt);
  cache.Extend(1, 50);
  cache.ShrinkUnpinned(0);
  EXPECT_EQ(cache.Hit(1, 1000), 50);
}

}  // namespace
}  // namespace tidegate::internal
