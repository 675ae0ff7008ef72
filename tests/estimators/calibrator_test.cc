// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/calibrator.h"

#include <random>
#include <vector>

#include "estimators/calibrated_estimator.h"
#include "tests/testing/fake_estimator.h"
#include "tests/testing/matchers.h"

namespace tidegate::internal {
namespace {

using ::tidegate::testing::FakeEstimator;

constexpr Bytes kMiB = Bytes{1} << 20;
constexpr char kRoute[] = "route";

// Samples of one route: static prices of 512 to 4096 MiB.
void Feed(Calibrator& calibrator, double factor, Bytes fixed, int count = 8) {
  for (int i = 1; i <= count; ++i) {
    const Bytes s = 512 * kMiB * i;
    calibrator.Add(kRoute, 2048, s,
                   static_cast<Bytes>(static_cast<double>(s) * factor) + fixed,
                   Instant{});
  }
}

TEST(CalibratorTest, KnowsNothingAtFirst) {
  EXPECT_EQ(Calibrator().For(kRoute), Correction{});
  EXPECT_FALSE(Calibrator().active());
}

TEST(CalibratorTest, FindsFixedPartAndFactor) {
  Calibrator calibrator;
  Feed(calibrator, 1.12, 100 * kMiB);
  EXPECT_NEAR(calibrator.For(kRoute).Apply(2048 * kMiB),
              2048 * kMiB * 1.12 + 100 * kMiB, 1.0 * kMiB);
}

TEST(CalibratorTest, ThreeSamplesAreTooFew) {
  Calibrator calibrator;
  Feed(calibrator, 1.5, 0, 3);
  EXPECT_FALSE(calibrator.active());
}

TEST(CalibratorTest, OneWildSampleMovesNothing) {
  Calibrator calm;
  Feed(calm, 1.0, 0);
  for (const Bytes wild : {Bytes{0}, 8000 * kMiB, 500'000 * kMiB}) {
    Calibrator disturbed;
    Feed(disturbed, 1.0, 0);
    disturbed.Add(kRoute, 2048, 1000 * kMiB, wild, Instant{});
    EXPECT_EQ(disturbed.For(kRoute), calm.For(kRoute)) << wild;
  }
}

// A public case: 54 tokens cost 571 MB, and every later prompt was refused.
TEST(CalibratorTest, ShortChunksDoNotSeedIt) {
  Calibrator calibrator;
  for (int i = 0; i < 20; ++i) {
    calibrator.Add(kRoute, 54, kMiB, 571 * kMiB, Instant{});
  }
  EXPECT_FALSE(calibrator.active());
}

TEST(CalibratorTest, StaysWithinItsBoundsWhateverIsMeasured) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 2000; ++round) {
    Calibrator calibrator;
    const int count = 1 + static_cast<int>(random() % 40);
    for (int i = 0; i < count; ++i) {
      calibrator.Add(kRoute, 256 + random() % 4096,
                     static_cast<Bytes>(random() >> (1 + random() % 62)),
                     static_cast<Bytes>(random() >> (1 + random() % 62)),
                     Instant{});
    }
    const Correction correction = calibrator.For(kRoute);
    Bytes before = 0;
    for (Bytes s = 1; s < kBytesMax / 4; s = s * 3 + 1) {
      const Bytes corrected = correction.Apply(s);
      ASSERT_GE(corrected, s / 10 * 9);
      ASSERT_LE(corrected, SatAdd(2 * s, 512 * kMiB));
      ASSERT_GE(corrected, before) << "falls where the static price rises";
      before = corrected;
    }
  }
}

// Two widths at growing lengths, all measured below their price: the steeper
// ones do not make a slope that then passes every price.
TEST(CalibratorTest, MeasurementsBelowThePriceDoNotRaiseIt) {
  Calibrator calibrator;
  const Bytes wide = 17'203'200;
  const Bytes narrow = 13'762'560;
  calibrator.Add(kRoute, 320, wide, 4'140'000, Instant{});
  for (const Bytes measured : {4'900'000, 6'600'000, 8'030'000}) {
    calibrator.Add(kRoute, 256, narrow, measured, Instant{});
  }
  calibrator.Add(kRoute, 320, wide, 12'500'000, Instant{});
  EXPECT_LE(calibrator.For(kRoute).Apply(narrow), narrow);
  EXPECT_LE(calibrator.For(kRoute).Apply(wide), wide);
}

TEST(CalibratorTest, ForgetsWhatIsOld) {
  Calibrator calibrator;
  Feed(calibrator, 1.5, 0);
  ASSERT_TRUE(calibrator.active());
  calibrator.Expire(Instant{} + std::chrono::hours(2));
  EXPECT_FALSE(calibrator.active());
}

TEST(CalibratorTest, KeepsRoutesApart) {
  Calibrator calibrator;
  Feed(calibrator, 1.5, 0);
  EXPECT_EQ(calibrator.For("another"), Correction{});
}

TEST(CalibratorTest, OutOfMemoryIsEvidenceOnlyAboveThePrice) {
  Calibrator calibrator;
  for (int i = 1; i <= 8; ++i) {
    calibrator.AddOutOfMemory(kRoute, 2048, 512 * kMiB * i, 100 * kMiB * i,
                              Instant{});
  }
  EXPECT_FALSE(calibrator.active());
  for (int i = 1; i <= 8; ++i) {
    calibrator.AddOutOfMemory(kRoute, 2048, 512 * kMiB * i, 768 * kMiB * i,
                              Instant{});
  }
  EXPECT_GE(calibrator.For(kRoute).Apply(1024 * kMiB), 1500 * kMiB);
}

TEST(CalibratorTest, BoundsBelowTheFitDoNotDragItDown) {
  Calibrator calibrator;
  Feed(calibrator, 2, 0);
  const Correction before = calibrator.For(kRoute);
  for (int i = 0; i < 20; ++i) {
    calibrator.AddOutOfMemory(kRoute, 2048, 2048 * kMiB, 2100 * kMiB,
                              Instant{});
  }
  EXPECT_EQ(calibrator.For(kRoute), before);
}

TEST(CalibratorTest, SamplesThatAreAllAlikeStillRaiseTheFactor) {
  Calibrator calibrator;
  for (int i = 0; i < 8; ++i) {
    calibrator.Add(kRoute, 2048, 2048 * kMiB, 4096 * kMiB, Instant{});
  }
  EXPECT_GE(calibrator.For(kRoute).Apply(2048 * kMiB), 4096 * kMiB);
}

TEST(CalibratorTest, HalfThePriceIsBelievedAfterFiftySteps) {
  Calibrator calibrator;
  for (int i = 0; i < 6; ++i) Feed(calibrator, 0.5, 0);
  EXPECT_GE(calibrator.For(kRoute).Apply(1000 * kMiB), 900 * kMiB);
  Feed(calibrator, 0.5, 0);
  EXPECT_NEAR(calibrator.For(kRoute).Apply(1000 * kMiB), 500 * kMiB,
              1.0 * kMiB);
  // Never less than that.
  for (int i = 0; i < 6; ++i) Feed(calibrator, 0.2, 0);
  EXPECT_GE(calibrator.For(kRoute).Apply(1000 * kMiB), 500 * kMiB);
}

TEST(CalibratedEstimatorTest, AStepMayNeedTwiceItsPriceUntilItWasMeasured) {
  FakeEstimator base;
  base.kernels = {{.n_last = kTokensMax, .per_n = kMiB}};
  Calibrator calibrator;
  const CalibratedEstimator estimator(base, calibrator);
  const Chunk chunk{.n = 1024, .kv_len = 4096};
  const StepQuery step{.chunks = {&chunk, 1}};
  EXPECT_EQ(estimator.MayNeed(step), 2048 * kMiB);
  EXPECT_EQ(estimator.Total(step).transient_bytes, 1024 * kMiB);
  for (int i = 1; i <= 4; ++i) {
    calibrator.Add("fake", 2048, 512 * kMiB * i, 512 * kMiB * i, Instant{});
  }
  EXPECT_EQ(estimator.MayNeed(step), 1024 * kMiB);
}

TEST(CalibratorTest, WhatWasSavedIsLearnedAgain) {
  Calibrator calibrator;
  Feed(calibrator, 1.3, 50 * kMiB);
  const Instant now = Instant{} + std::chrono::minutes(20);
  const auto saved = calibrator.Save(now);
  Calibrator loaded;
  const Instant later = Instant{} + std::chrono::hours(5);
  ASSERT_THAT(loaded.Load(saved, later), ::tidegate::testing::IsOk());
  EXPECT_EQ(loaded.For(kRoute), calibrator.For(kRoute));
  EXPECT_EQ(loaded.Save(later), saved);
  loaded.Expire(later + std::chrono::minutes(41));
  EXPECT_FALSE(loaded.active());
}

TEST(CalibratorTest, LoadsNothingOfWhatHoldsABrokenSample) {
  Calibrator calibrator;
  Feed(calibrator, 1.3, 0);
  auto saved = calibrator.Save(Instant{});
  saved[0].samples[3].static_bytes = 0;
  Calibrator loaded;
  EXPECT_THAT(loaded.Load(saved, Instant{}),
              ::tidegate::testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                            ::testing::HasSubstr("sample 3")));
  EXPECT_FALSE(loaded.active());
}

TEST(CalibratedEstimatorTest, TermsOfTheBindingPartSumToTheTransient) {
  FakeEstimator base;
  base.kernels = {{.n_last = kTokensMax, .per_n = kMiB}};
  for (const double factor : {0.95, 1.5}) {
    Calibrator calibrator;
    for (int i = 1; i <= 8; ++i) {
      calibrator.Add("fake", 2048, 512 * kMiB * i,
                     static_cast<Bytes>(512 * factor) * kMiB * i, Instant{});
    }
    const CalibratedEstimator estimator(base, calibrator);
    const Chunk chunk{.n = 1024, .kv_len = 4096};
    ASSERT_OK_AND_ASSIGN(const Price price,
                         estimator.Explain({.chunks = {&chunk, 1}}));
    EXPECT_NE(price.transient_bytes, 1024 * kMiB);
    EXPECT_EQ(price.transient_bytes,
              estimator.Total({.chunks = {&chunk, 1}}).transient_bytes);
    Bytes largest = 0;
    for (const Part& part : price.parts) {
      Bytes sum = 0;
      for (const Term& term : part.terms) sum += term.bytes;
      EXPECT_EQ(sum, part.bytes);
      if (part.name == price.binding_part) largest = sum;
    }
    EXPECT_EQ(largest, price.transient_bytes);
  }
}

}  // namespace
}  // namespace tidegate::internal
