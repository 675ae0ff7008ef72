// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/profile.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "estimators/profile_fit.h"
#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tidegate::testing::FullMixer;
using ::tidegate::testing::StatusIs;

constexpr Bytes kMib = Bytes{1} << 20;

ModelShape Shape() {
  ModelShape shape;
  shape.name = "llama";
  shape.hidden = 512;
  shape.vocab = 1000;
  shape.kv_element = ElementSize::OfBytes(2);
  shape.mixers = {FullMixer(8, 2, 64)};
  shape.feed_forwards = {FeedForward{.intermediate = 1536}};
  shape.layers = {Layer{}, Layer{}};
  return shape;
}

Profile OneRoute(const std::string& route, Correction correction) {
  Profile profile;
  profile.entries = {{.engine = "mlx",
                      .version = "0.31.2",
                      .device = "metal",
                      .model = ModelKey(Shape()),
                      .route = route,
                      .correction = correction,
                      .rows = 20}};
  return profile;
}

absl::StatusOr<CreatedEstimator> Make(const std::string& profile,
                                      const std::string& version = "0.31.2") {
  EstimatorOptions options;
  options.shape = Shape();
  options.engine = {"mlx", version, "metal", {}};
  options.use = "calibrated";
  options.profile = profile;
  options.profile_file = "p.toml";
  return CreateEstimator(options);
}

TEST(ProfileTest, AModelIsKnownByItsWidthsAndNotByItsDepth) {
  ModelShape deeper = Shape();
  deeper.layers.resize(40);
  EXPECT_EQ(ModelKey(Shape()),
            "llama: full 8/2x64, mlp 1536, hidden 512, vocab 1000, bf16");
  EXPECT_EQ(ModelKey(deeper), ModelKey(Shape()));
  ModelShape wider = Shape();
  wider.mixers[0].q_heads = 16;
  EXPECT_NE(ModelKey(wider), ModelKey(Shape()));
  ModelShape quantised = Shape();
  quantised.kv_element = ElementSize::OfBytes(1);
  EXPECT_NE(ModelKey(quantised), ModelKey(Shape()));
}

TEST(ProfileTest, ReadsWhatItWrote) {
  Profile profile = OneRoute("mlx.full", {.fixed = 7, .factor_65536 = 70000});
  profile.date = "2026-01-31";
  profile.files = {"a \"b\".csv", "c.csv"};
  ASSERT_OK_AND_ASSIGN(const Profile again,
                       ParseProfile(WriteProfile(profile), "p.toml"));
  EXPECT_EQ(again.date, profile.date);
  EXPECT_EQ(again.files, profile.files);
  ASSERT_EQ(again.entries.size(), 1u);
  EXPECT_EQ(again.entries[0].route, "mlx.full");
  EXPECT_EQ(again.entries[0].model, ModelKey(Shape()));
  EXPECT_EQ(again.entries[0].correction.fixed, 7);
  // Six digits are kept, and what is lost is rounded up.
  EXPECT_GE(again.entries[0].correction.factor_65536, 70000);
  EXPECT_LE(again.entries[0].correction.factor_65536, 70001);
}

struct BadProfile {
  const char* name;
  const char* text;
  const char* message;
};
class BadProfileTest : public ::testing::TestWithParam<BadProfile> {};

TEST_P(BadProfileTest, IsRefusedWithItsPlace) {
  EXPECT_THAT(ParseProfile(GetParam().text, "p.toml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(GetParam().message)));
}

const char kEntry[] =
    "format = 1\n[[route]]\nengine = \"a\"\nversion = \"1\"\ndevice = \"d\"\n"
    "model = \"m\"\nroute = \"r\"\nfixed_bytes = -1\nfactor = 1.0\n";

INSTANTIATE_TEST_SUITE_P(
    Profiles, BadProfileTest,
    ::testing::Values(
        BadProfile{"Empty", "", "format: missing key"},
        BadProfile{"AnotherFormat", "format = 2\n",
                   "p.toml:1:10: format: expected 1, got 2"},
        BadProfile{"WithoutRoutes", "format = 1\n",
                   "p.toml: expected at least one [[route]], got none"},
        BadProfile{"UnknownKey", "format = 1\ndaet = \"x\"\n[[route]]\n",
                   "missing key"},
        BadProfile{"NegativeBytes", kEntry,
                   "p.toml:8:15: route[0].fixed_bytes: expected 0 or more"},
        BadProfile{"NoToml", "format 1\n", "p.toml:1:8"}),
    [](const auto& info) { return info.param.name; });

TEST(ProfiledEstimatorTest, CorrectsPricesByItsRoute) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator plain, Make(""));
  const Chunk chunk{.n = 512, .kv_len = 8192};
  const StepQuery step{.chunks = {&chunk, 1}};
  const std::string route = plain.estimator->RouteName(step);
  const Bytes before = plain.estimator->Total(step).transient_bytes;
  ASSERT_OK_AND_ASSIGN(
      const CreatedEstimator made,
      Make(WriteProfile(OneRoute(
          route, {.fixed = 5 * kMib, .factor_65536 = 65536 * 3 / 2}))));
  EXPECT_THAT(made.warnings, IsEmpty());
  EXPECT_EQ(made.estimator->Total(step).transient_bytes,
            (before * 3 + 1) / 2 + 5 * kMib);
}

TEST(ProfiledEstimatorTest, IsBoundedByTheStaticPriceOnBothSides) {
  const Chunk chunk{.n = 512, .kv_len = 8192};
  const StepQuery step{.chunks = {&chunk, 1}};
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator plain, Make(""));
  const std::string route = plain.estimator->RouteName(step);
  const Bytes before = plain.estimator->Total(step).transient_bytes;
  ASSERT_OK_AND_ASSIGN(
      const CreatedEstimator low,
      Make(WriteProfile(OneRoute(route, {.factor_65536 = 1000}))));
  EXPECT_GE(low.estimator->Total(step).transient_bytes, before / 10 * 9);
  ASSERT_OK_AND_ASSIGN(
      const CreatedEstimator high,
      Make(WriteProfile(OneRoute(
          route, {.fixed = kBytesMax / 2, .factor_65536 = 65536 * 9}))));
  EXPECT_EQ(high.estimator->Total(step).transient_bytes,
            2 * before + 512 * kMib);
}

TEST(ProfiledEstimatorTest, AProfileOfAnotherVersionHasNoEffectAndSaysSo) {
  const Chunk chunk{.n = 512, .kv_len = 8192};
  const StepQuery step{.chunks = {&chunk, 1}};
  const std::string profile =
      WriteProfile(OneRoute("mlx.full", {.factor_65536 = 2 * 65536}));
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator plain, Make("", "0.30.0"));
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator made, Make(profile, "0.30.0"));
  EXPECT_EQ(made.estimator->Total(step), plain.estimator->Total(step));
  ASSERT_EQ(made.warnings.size(), 1u);
  EXPECT_THAT(made.warnings[0],
              HasSubstr("estimator.profile has no effect: it knows "
                        "mlx@0.31.2/metal"));
}

// Rows whose transient is fixed + factor * static, with noise upwards.
std::vector<MeasuredPrice> Rows(std::size_t count, double factor, Bytes fixed,
                                double noise, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> jitter(0, noise);
  std::vector<MeasuredPrice> rows;
  for (std::size_t i = 0; i < count; ++i) {
    MeasuredPrice row;
    row.n = 256 + static_cast<Tokens>(i);
    row.kv_len = 4096;
    row.static_bytes = 32 * kMib + static_cast<Bytes>(random() % 2000) * kMib;
    row.measured_bytes = static_cast<Bytes>(
        factor * static_cast<double>(row.static_bytes) * (1 - jitter(random)) +
        static_cast<double>(fixed));
    rows.push_back(row);
  }
  return rows;
}

// Share of rows below their measurement by more than an allocator's rounding,
// and the 95th percentile of fitted / measured.
std::pair<double, double> Judge(const Correction& correction,
                                const std::vector<MeasuredPrice>& rows) {
  std::vector<double> ratios;
  double under = 0;
  for (const MeasuredPrice& row : rows) {
    const Bytes fitted = correction.Apply(row.static_bytes);
    if (fitted + 2 * kMib < row.measured_bytes) ++under;
    ratios.push_back(static_cast<double>(fitted) /
                     static_cast<double>(row.measured_bytes));
  }
  std::sort(ratios.begin(), ratios.end());
  return {under / static_cast<double>(rows.size()),
          ratios[ratios.size() * 95 / 100]};
}

TEST(ProfileFitTest, FindsALineThatHoldsForRowsItHasNotSeen) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (const double factor : {0.93, 1.0, 1.25, 1.7}) {
      const Bytes fixed = factor < 1 ? 0 : 40 * kMib;
      ASSERT_OK_AND_ASSIGN(const ProfileFit fit,
                           FitProfile(Rows(100, factor, fixed, 0.02, seed)));
      const auto [under, p95] =
          Judge(fit.entry.correction, Rows(1000, factor, fixed, 0.02, ~seed));
      EXPECT_LE(under, 0.01) << factor << " seed " << seed;
      EXPECT_LE(p95, 1.08) << factor << " seed " << seed;
    }
  }
}

TEST(ProfileFitTest, KeepsTheStaticPriceWhereItIsRight) {
  ASSERT_OK_AND_ASSIGN(const ProfileFit fit,
                       FitProfile(Rows(60, 1.0, 0, 0.0, 3)));
  EXPECT_EQ(fit.entry.correction, Correction{});
}

TEST(ProfileFitTest, AFewWildRowsAreLeftOut) {
  std::vector<MeasuredPrice> rows = Rows(100, 1.2, 0, 0.01, 5);
  ASSERT_OK_AND_ASSIGN(const ProfileFit clean, FitProfile(rows));
  for (const std::size_t wild : {3, 40, 77}) rows[wild].measured_bytes *= 6;
  ASSERT_OK_AND_ASSIGN(const ProfileFit fit, FitProfile(rows));
  EXPECT_EQ(fit.entry.outliers, 3);
  EXPECT_TRUE(fit.outlier[3] && fit.outlier[40] && fit.outlier[77]);
  const auto [under, p95] =
      Judge(fit.entry.correction, Rows(1000, 1.2, 0, 0.01, 6));
  EXPECT_LE(under, 0.01);
  EXPECT_LE(p95, 1.08);
}

TEST(ProfileFitTest, OneHighRowAloneMovesNothing) {
  std::vector<MeasuredPrice> rows = Rows(60, 1.0, 0, 0.0, 5);
  // Too near the others to be an outlier.
  rows[7].measured_bytes += rows[7].measured_bytes / 10 + 8 * kMib;
  ASSERT_OK_AND_ASSIGN(const ProfileFit fit, FitProfile(rows));
  EXPECT_EQ(fit.entry.correction, Correction{});
}

TEST(ProfileFitTest, TooFewRowsAreRefused) {
  EXPECT_THAT(FitProfile(Rows(7, 1.2, 0, 0.01, 5)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       "too few rows: 7 with a price, expected 8"));
}

TEST(ProfileFitTest, RowsThatContradictEachOtherAreRefused) {
  std::vector<MeasuredPrice> rows = Rows(40, 1.2, 0, 0.0, 5);
  for (std::size_t i = 0; i < 10; ++i) {
    rows.push_back(rows[i]);
    rows.back().measured_bytes = rows[i].measured_bytes * 2 + 64 * kMib;
  }
  EXPECT_THAT(FitProfile(rows),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("its rows contradict each other: n ")));
}

TEST(ProfileFitTest, RowsThatDoNotFollowThePriceAreRefused) {
  std::vector<MeasuredPrice> rows = Rows(40, 1.0, 0, 0.0, 5);
  std::mt19937_64 random(9);
  for (MeasuredPrice& row : rows) {
    row.measured_bytes = (20 + static_cast<Bytes>(random() % 4000)) * kMib;
  }
  EXPECT_EQ(FitProfile(rows).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ProfileFitTest, RowsBeyondWhatACorrectionMayReachAreRefused) {
  EXPECT_EQ(FitProfile(Rows(40, 4.0, 0, 0.01, 5)).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace tidegate::internal
