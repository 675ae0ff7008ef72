// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/generic_law.h"

#include <memory>

#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tidegate::testing::AttentionOnly;
using tidegate::testing::FullMixer;
using tidegate::testing::LatentMixer;
using tidegate::testing::SlidingMixer;

constexpr Bytes kOutput = Bytes{32} * 2048 * 128 * 4;

EstimatorOptions Options(std::string use) {
  return {.shape = AttentionOnly(FullMixer(32, 8, 128)),
          .engine = {"acme", "1", "npu", {}},
          .use = std::move(use)};
}

PriceTotals Total(const EstimatorOptions& options, const Chunk& chunk) {
  absl::StatusOr<CreatedEstimator> created = CreateEstimator(options);
  EXPECT_THAT(created, tidegate::testing::IsOk());
  return created->estimator->Total({.chunks = {&chunk, 1}});
}

TEST(GenericLawTest, FusedHasNoTermInTheKvLength) {
  EXPECT_EQ(
      Total(Options("fused"), {.n = 2048, .kv_len = 100'000}).transient_bytes,
      kOutput);
}

TEST(GenericLawTest, UnfusedWritesTheScoresOut) {
  EXPECT_EQ(Total(Options("unfused"),
                  {.n = 2048, .kv_len = 100'000, .mask = MaskKind::kNone})
                .transient_bytes,
            Bytes{32} * 2048 * 100'000 * 2 + kOutput);
}

TEST(GenericLawTest, ScoreBytesRaisesTheWidthOfTheScores) {
  EstimatorOptions options = Options("unfused");
  options.score_bytes = 10;
  EXPECT_EQ(
      Total(options, {.n = 2048, .kv_len = 100'000, .mask = MaskKind::kNone})
          .transient_bytes,
      Bytes{32} * 2048 * 100'000 * 10 + kOutput);
}

TEST(GenericLawTest, MaskOfUnknownTypePromotesToFourBytes) {
  EXPECT_EQ(Total(Options("unfused"),
                  {.n = 2048, .kv_len = 100'000, .mask = MaskKind::kArray})
                .transient_bytes,
            Bytes{32} * 2048 * 100'000 * 4 + kOutput);
}

TEST(GenericLawTest, TileOnOneAxisLeavesTheOther) {
  EstimatorOptions options = Options("tiled");
  options.tile_q = 512;
  EXPECT_EQ(Total(options, {.n = 2048, .kv_len = 100'000}).transient_bytes,
            Bytes{32} * 512 * 100'000 * 2 + kOutput);
  options.tile_k = 1024;
  EXPECT_EQ(Total(options, {.n = 2048, .kv_len = 100'000}).transient_bytes,
            Bytes{32} * 512 * 1024 * 2 + kOutput);
}

TEST(GenericLawTest, SlidingLayerAttendsToItsWindowAndTheChunk) {
  EstimatorOptions options = Options("unfused");
  options.shape = AttentionOnly(SlidingMixer(32, 8, 128, 1024));
  EXPECT_EQ(
      Total(options, {.n = 512, .kv_len = 100'000, .mask = MaskKind::kNone})
          .largest_allocation_bytes,
      Bytes{32} * 512 * (1023 + 512) * 2);
}

TEST(GenericLawTest, LatentLayerExpandsItsKeysAndValues) {
  EstimatorOptions options = Options("fused");
  options.shape = AttentionOnly(LatentMixer(64, 128, 64, 128, 512));
  EXPECT_EQ(Total(options, {.n = 1, .kv_len = 100'000}).fixed_in_n_bytes,
            Bytes{64} * 100'000 * (192 + 128) * 2);
}

TEST(GenericLawTest, UnknownEngineIsUnfusedAssumedAndWarnedAboutOnce) {
  EstimatorOptions options = Options("catalog");
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(options));
  EXPECT_TRUE(created.estimator->Assumed());
  EXPECT_THAT(created.warnings, ElementsAre(HasSubstr("acme")));
  const Chunk chunk{.n = 2048, .kv_len = 100'000};
  ASSERT_OK_AND_ASSIGN(const Price price,
                       created.estimator->Explain({.chunks = {&chunk, 1}}));
  EXPECT_EQ(price.route, "unfused");
  EXPECT_TRUE(price.assumed);
  options.score_bytes = 8;
  EXPECT_GT(Total(options, chunk).transient_bytes, 3 * price.transient_bytes);
}

}  // namespace
}  // namespace tidegate
