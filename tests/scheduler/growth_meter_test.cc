// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "scheduler/growth_meter.h"

#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

// `times` chunks of 1024 tokens, priced at 100 bytes a token.
void Add(GrowthMeter* meter, int times, Bytes per_token) {
  for (int i = 0; i < times; ++i) {
    meter->Add(1024, 1024 * per_token, 1024 * 100);
  }
}

TEST(GrowthMeterTest, FourSamplesSayNothingAndFiveDo) {
  GrowthMeter meter;
  Add(&meter, 4, 300);
  EXPECT_EQ(meter.ExtraPerToken(), 0);
  Add(&meter, 1, 300);
  EXPECT_EQ(meter.ExtraPerToken(), 200);
}

TEST(GrowthMeterTest, AWildMinorityMovesNothing) {
  GrowthMeter meter;
  Add(&meter, 5, 100);
  Add(&meter, 4, 1'000'000);
  EXPECT_EQ(meter.ExtraPerToken(), 0);
}

TEST(GrowthMeterTest, AMajorityDecides) {
  GrowthMeter meter;
  Add(&meter, 4, 100);
  Add(&meter, 5, 400);
  EXPECT_EQ(meter.ExtraPerToken(), 300);
}

TEST(GrowthMeterTest, ShortChunksAreNoSamples) {
  GrowthMeter meter;
  for (int i = 0; i < 20; ++i) meter.Add(127, 1'000'000, 0);
  EXPECT_EQ(meter.ExtraPerToken(), 0);
  for (int i = 0; i < 5; ++i) meter.Add(128, 128 * 500, 0);
  EXPECT_EQ(meter.ExtraPerToken(), 500);
}

TEST(GrowthMeterTest, OldSamplesAreForgottenAfterNine) {
  GrowthMeter meter;
  Add(&meter, 9, 500);
  Add(&meter, 4, 100);
  EXPECT_EQ(meter.ExtraPerToken(), 400);
  Add(&meter, 1, 100);
  EXPECT_EQ(meter.ExtraPerToken(), 0);
}

TEST(GrowthMeterTest, ASlopeOfPageRoundingCountsAsNone) {
  GrowthMeter meter;
  Add(&meter, 5, 163);
  EXPECT_EQ(meter.ExtraPerToken(), 0);
  Add(&meter, 9, 164);
  EXPECT_EQ(meter.ExtraPerToken(), 64);
}

TEST(GrowthMeterTest, LessGrowthThanPricedLowersNoPrice) {
  GrowthMeter meter;
  Add(&meter, 9, 10);
  EXPECT_EQ(meter.ExtraPerToken(), 0);
}

}  // namespace
}  // namespace tidegate::internal
