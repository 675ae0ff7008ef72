// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/ledger.h"

#include <random>
#include <vector>

#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

TEST(LedgerTest, GrowthMovesBytesFromTheClaimToResident) {
  Ledger ledger;
  ledger.Open(1, 100, 10);
  ledger.Grow(1, 30);
  EXPECT_EQ(ledger.claimed(), 70);
  EXPECT_EQ(ledger.resident(), 40);
  EXPECT_EQ(ledger.claimed() + ledger.resident(), 110);
}

TEST(LedgerTest, GrowthBeyondTheClaimIsResidentAllTheSame) {
  Ledger ledger;
  ledger.Open(1, 20, 0);
  ledger.Grow(1, 50);
  EXPECT_EQ(ledger.ClaimOf(1), 0);
  EXPECT_EQ(ledger.ResidentOf(1), 50);
}

TEST(LedgerTest, ANewClaimReplacesWhatIsLeftOfTheOldOne) {
  Ledger ledger;
  ledger.Open(1, 100, 0);
  ledger.Open(2, 7, 0);
  ledger.Grow(1, 60);
  ledger.SetClaim(1, 55);
  EXPECT_EQ(ledger.ClaimOf(1), 55);
  EXPECT_EQ(ledger.claimed(), 62);
}

TEST(LedgerTest, ReleaseFreesBothAndAnswersWhatWasLive) {
  Ledger ledger;
  ledger.Open(1, 100, 5);
  ledger.Open(2, 9, 3);
  ledger.Grow(1, 20);
  EXPECT_EQ(ledger.Release(1), 25);
  EXPECT_EQ(ledger.claimed(), 9);
  EXPECT_EQ(ledger.resident(), 3);
  EXPECT_FALSE(ledger.empty());
  EXPECT_EQ(ledger.Release(2), 3);
  EXPECT_TRUE(ledger.empty());
  EXPECT_EQ(ledger.claimed() + ledger.resident(), 0);
}

TEST(LedgerTest, ARequestWithoutAnAccountHoldsNothing) {
  const Ledger ledger;
  EXPECT_EQ(ledger.ClaimOf(4), 0);
  EXPECT_EQ(ledger.ResidentOf(4), 0);
}

TEST(LedgerTest, IsZeroAfterAnyOrderOfOpeningGrowingAndReleasing) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    std::mt19937_64 random(seed);
    Ledger ledger;
    std::vector<RequestId> open;
    RequestId next = 1;
    for (int i = 0; i < 200; ++i) {
      const std::uint64_t what = random() % 4;
      const Bytes bytes = static_cast<Bytes>(random() % 1000);
      if (what == 0 || open.empty()) {
        ledger.Open(next, bytes, bytes / 3);
        open.push_back(next++);
      } else {
        const std::size_t at = random() % open.size();
        if (what == 1) ledger.Grow(open[at], bytes);
        if (what == 2) ledger.SetClaim(open[at], bytes);
        if (what == 3) {
          ledger.Release(open[at]);
          open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
        }
      }
      ASSERT_TRUE(ledger.Conserved()) << "seed " << seed << " step " << i;
    }
    for (const RequestId id : open) ledger.Release(id);
    ASSERT_EQ(ledger.claimed(), 0) << "seed " << seed;
    ASSERT_EQ(ledger.resident(), 0) << "seed " << seed;
  }
}

TEST(LedgerDeathTest, AnAccountIsOpenedOnce) {
  Ledger ledger;
  ledger.Open(1, 1, 1);
  EXPECT_DEATH(ledger.Open(1, 1, 1), "invariant broken");
}

TEST(LedgerDeathTest, AnAccountIsReleasedOnce) {
  Ledger ledger;
  ledger.Open(1, 1, 1);
  ledger.Release(1);
  EXPECT_DEATH(ledger.Release(1), "invariant broken");
}

}  // namespace
}  // namespace tidegate::internal
