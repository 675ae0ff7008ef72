// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/memory_state.h"

#include <chrono>
#include <string>

#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

constexpr Duration kSecond = std::chrono::seconds(1);

Instant At(std::int64_t seconds) { return Instant(seconds * kSecond); }

MemoryState State(Bytes ceiling = 1000, Bytes base = 400, Bytes headroom = 0) {
  return MemoryState({.ceiling = ceiling, .base = base, .headroom = headroom},
                     {}, {"pool", "cache"});
}

std::vector<Bytes> One(Bytes live) { return {live}; }

TEST(MemoryStateTest, LiveIsWhatRequestsHoldAndEverythingElse) {
  MemoryState memory = State();
  EXPECT_EQ(memory.Live(0), 400);
  EXPECT_EQ(memory.Live(50), 450);
}

TEST(MemoryStateTest, AReadingReplacesWhatIsElsewhereAndTheLedgerMovesOn) {
  MemoryState memory = State();
  memory.Read(One(600), 50);
  EXPECT_EQ(memory.Live(50), 600);
  EXPECT_EQ(memory.Live(80), 630);
}

TEST(MemoryStateTest, AReadingBelowTheLedgerIsRightAllTheSame) {
  MemoryState memory = State();
  memory.Read(One(30), 50);
  EXPECT_EQ(memory.Live(50), 30);
  EXPECT_EQ(memory.Live(0), 0);
}

TEST(MemoryStateTest, FreedBytesCountAsLiveUntilAReading) {
  MemoryState memory = State();
  memory.Free(100, At(1));
  EXPECT_EQ(memory.Live(0), 500);
  EXPECT_EQ(memory.unconfirmed(), 100);
  memory.Read(One(420), 0);
  EXPECT_EQ(memory.Live(0), 420);
  EXPECT_EQ(memory.unconfirmed(), 0);
}

TEST(MemoryStateTest, FreedBytesAreBelievedAfterASecondWhereNoReadingComes) {
  MemoryState memory = State();
  memory.Free(100, At(1));
  EXPECT_EQ(memory.NextExpiry(), At(2));
  memory.Expire(At(2) - Duration(1));
  EXPECT_EQ(memory.Live(0), 500);
  memory.Expire(At(2));
  EXPECT_EQ(memory.Live(0), 400);
  EXPECT_EQ(memory.NextExpiry(), std::nullopt);
}

TEST(MemoryStateTest, WhereReadingsAreExpectedItTakesTheLongestPatience) {
  MemoryState memory = State();
  memory.ExpectReadings();
  memory.Free(100, At(1));
  memory.Expire(At(30));
  EXPECT_EQ(memory.unconfirmed(), 100);
  memory.Expire(At(31));
  EXPECT_EQ(memory.unconfirmed(), 0);
}

TEST(MemoryStateTest, TheLimitsHaveLiveAsTheirBase) {
  MemoryState memory = State(1000, 400, 100);
  const MemoryLimits limits = memory.Limits(70);
  EXPECT_EQ(limits.base, 470);
  EXPECT_EQ(limits.Room(), 430);
  EXPECT_EQ(memory.line(), 900);
}

TEST(MemoryStateTest, TheIdleRoomCountsWhatCanBeReclaimedAndIsOnItsWayOut) {
  MemoryState memory = State();
  EXPECT_EQ(memory.IdleRoom(), 600);
  memory.SetReclaimable("pool", 100);
  EXPECT_EQ(memory.IdleRoom(), 700);
  memory.ReleasePending(50, At(0));
  EXPECT_EQ(memory.IdleRoom(), 750);
}

TEST(MemoryStateTest, KindsThatTheLadderLacksHoldNothing) {
  MemoryState memory = State();
  memory.SetReclaimable("model", 100);
  EXPECT_EQ(memory.Reclaimable(), 0);
  EXPECT_EQ(memory.NextRung(), nullptr);
}

TEST(MemoryStateTest, TheLadderIsClimbedInItsOrder) {
  MemoryState memory = State();
  memory.SetReclaimable("cache", 10);
  memory.SetReclaimable("pool", 20);
  ASSERT_NE(memory.NextRung(), nullptr);
  EXPECT_EQ(*memory.NextRung(), "pool");
  memory.Ask("pool", 20, At(0));
  EXPECT_EQ(*memory.NextRung(), "cache");
}

TEST(MemoryStateTest, AKindThatFreedNothingThriceMustSayAnotherNumber) {
  MemoryState memory = State();
  memory.SetReclaimable("pool", 20);
  for (int i = 0; i < 3; ++i) {
    memory.SetReclaimable("pool", 20);
    EXPECT_EQ(memory.Reclaimable("pool"), 20);
    const Reclaim asked = memory.Ask("pool", 20, At(0));
    EXPECT_TRUE(memory.Done({.reclaim = asked.reclaim, .freed_bytes = 0}));
    EXPECT_EQ(memory.Reclaimable("pool"), 0);
  }
  memory.SetReclaimable("pool", 20);
  EXPECT_EQ(memory.Reclaimable("pool"), 0);
  memory.SetReclaimable("pool", 21);
  EXPECT_EQ(memory.Reclaimable("pool"), 21);
}

TEST(MemoryStateTest, AReclaimIsAnsweredOnce) {
  MemoryState memory = State();
  memory.SetReclaimable("pool", 20);
  const Reclaim asked = memory.Ask("pool", 20, At(0));
  EXPECT_TRUE(memory.reclaiming());
  EXPECT_TRUE(memory.Done({.reclaim = asked.reclaim, .freed_bytes = 20}));
  EXPECT_FALSE(memory.reclaiming());
  EXPECT_FALSE(memory.Done({.reclaim = asked.reclaim, .freed_bytes = 20}));
}

TEST(MemoryStateTest, AReclaimWithoutAnswerExpiresAsIfItHadFreedNothing) {
  MemoryState memory = State();
  memory.SetReclaimable("pool", 20);
  memory.Ask("pool", 20, At(5));
  EXPECT_EQ(memory.NextExpiry(), At(35));
  memory.Expire(At(34));
  EXPECT_TRUE(memory.reclaiming());
  memory.Expire(At(35));
  EXPECT_FALSE(memory.reclaiming());
  EXPECT_EQ(memory.Reclaimable("pool"), 0);
}

TEST(MemoryStateTest, NoMoreIsReleasedThanWasAnnounced) {
  MemoryState memory = State();
  memory.ReleasePending(50, At(0));
  EXPECT_FALSE(memory.Released(51));
  EXPECT_EQ(memory.releasing(), 50);
  EXPECT_TRUE(memory.Released(50));
  EXPECT_EQ(memory.releasing(), 0);
}

TEST(MemoryStateTest, APendingReleaseIsOverdueAfterHalfAMinute) {
  MemoryState memory = State();
  memory.ReleasePending(50, At(0));
  EXPECT_EQ(memory.NextExpiry(), At(30));
  memory.Expire(At(30));
  EXPECT_EQ(memory.releasing(), 0);
  EXPECT_EQ(memory.IdleRoom(), 600);
  EXPECT_TRUE(memory.Released(50));
}

TEST(MemoryStateTest, TheBestRoomOfTheLastHalfMinuteCounts) {
  MemoryState memory = State();
  memory.NoteRoom(At(0), false);
  memory.SetCeiling(700, std::nullopt);
  memory.NoteRoom(At(10), false);
  EXPECT_EQ(memory.IdleRoom(), 300);
  EXPECT_EQ(memory.BestIdleRoom(), 600);
  memory.NoteRoom(At(29), false);
  EXPECT_EQ(memory.BestIdleRoom(), 600);
  memory.NoteRoom(At(41), false);
  EXPECT_EQ(memory.BestIdleRoom(), 300);
}

TEST(MemoryStateTest, TheRoomWhenIdleStaysAsItWasNoted) {
  MemoryState memory = State();
  EXPECT_EQ(memory.RoomWhenIdle(), 600);
  memory.Read(One(900), 100);
  EXPECT_EQ(memory.IdleRoom(), 200);
  EXPECT_EQ(memory.RoomWhenIdle(), 600);
  memory.NoteRoom(At(1), true);
  EXPECT_EQ(memory.RoomWhenIdle(), 200);
}

MemoryState TwoRanks() {
  const std::vector<RankLimits> ranks = {{.ceiling = 1000, .base = 400},
                                         {.ceiling = 900, .base = 200}};
  return MemoryState({.ceiling = 1}, ranks, {"pool"});
}

TEST(MemoryStateTest, TheRankWithTheLeastRoomIsTheDevice) {
  MemoryState memory = TwoRanks();
  EXPECT_EQ(memory.line() - memory.Live(0), 600);
  memory.Read(std::vector<Bytes>{500, 700}, 100);
  EXPECT_EQ(memory.line(), 900);
  EXPECT_EQ(memory.Live(100), 700);
  EXPECT_EQ(memory.least_rank(), 1u);
}

TEST(MemoryStateTest, ACeilingMovesOneRankOrAll) {
  MemoryState memory = TwoRanks();
  memory.SetCeiling(500, 1);
  EXPECT_EQ(memory.line() - memory.Live(0), 300);
  memory.SetCeiling(450, std::nullopt);
  EXPECT_EQ(memory.line() - memory.Live(0), 50);
}

TEST(MemoryStateTest, AReclaimWithoutAReadingLowersEveryRank) {
  MemoryState memory = TwoRanks();
  memory.Reclaimed(300, 0);
  EXPECT_EQ(memory.line() - memory.Live(0), 900);
}

TEST(MemoryStateTest, AnotherLadderKeepsWhatIsKnownOfItsRungs) {
  MemoryState memory = State();
  memory.SetReclaimable("cache", 70);
  memory.SetReclaimable("pool", 30);
  memory.Change({.ceiling = 800, .headroom = 100}, {}, {"cache", "model"});
  EXPECT_EQ(memory.line(), 700);
  EXPECT_EQ(memory.Live(0), 400);
  EXPECT_EQ(memory.Reclaimable(), 70);
}

TEST(MemoryStateTest, AReclaimUnderWayIsAnsweredUnderAnyLadder) {
  MemoryState memory = State();
  memory.SetReclaimable("pool", 30);
  const Reclaim asked = memory.Ask("pool", 30, At(1));
  memory.Change({.ceiling = 800}, {}, {"cache"});
  EXPECT_TRUE(memory.Done({.reclaim = asked.reclaim, .freed_bytes = 30}));
  EXPECT_FALSE(memory.reclaiming());
}

}  // namespace
}  // namespace tidegate::internal
