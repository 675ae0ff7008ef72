// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/mlx_law.h"

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"
#include "tidegate/estimator.h"
#include "tidegate/model_config.h"

namespace tidegate {
namespace {

using tidegate::testing::AttentionOnly;
using tidegate::testing::DeltaNetMixer;
using tidegate::testing::DenseModel;
using tidegate::testing::FullMixer;
using tidegate::testing::LatentMixer;
using tidegate::testing::SlidingMixer;

std::unique_ptr<Estimator> Mlx(const ModelShape& shape, std::string version,
                               std::string device = "metal",
                               decltype(EngineSpec::options) options = {}) {
  absl::StatusOr<CreatedEstimator> created = CreateEstimator(
      {.shape = shape, .engine = {"mlx", version, device, options}});
  EXPECT_THAT(created, tidegate::testing::IsOk());
  return std::move(created->estimator);
}

Price Explained(const Estimator& estimator, const Chunk& chunk) {
  absl::StatusOr<Price> price = estimator.Explain({.chunks = {&chunk, 1}});
  EXPECT_THAT(price, tidegate::testing::IsOk());
  return *price;
}

// Bytes of a term; -1 when there is none.
Bytes TermOf(const Price& price, std::string_view part, std::string_view term) {
  for (const Part& p : price.parts) {
    if (p.name != part) continue;
    for (const Term& t : p.terms) {
      if (t.name == term) return t.bytes;
    }
  }
  return -1;
}

TEST(MlxLawTest, UnfusedCallKeepsOneCopyOfTheScoresInTheComputeType) {
  const auto estimator = Mlx(AttentionOnly(FullMixer(24, 4, 256)), "0.31.2");
  const Price price = Explained(
      *estimator, {.n = 2048, .kv_len = 32768, .mask = MaskKind::kNone});
  EXPECT_EQ(price.route, "mlx.unfused");
  EXPECT_EQ(TermOf(price, "attention.full", "scores"),
            Bytes{24} * 2048 * 32768 * 2);
  EXPECT_EQ(price.transient_bytes,
            Bytes{24} * 2048 * 32768 * 2 + Bytes{24} * 2048 * 512 * 2);
  EXPECT_EQ(price.largest_allocation_bytes, Bytes{24} * 2048 * 32768 * 2);
}

TEST(MlxLawTest, FusedCallHasNoTermInTheKvLength) {
  const auto estimator = Mlx(AttentionOnly(FullMixer(32, 8, 128)), "0.31.2");
  const Price near = Explained(*estimator, {.n = 2048, .kv_len = 4096});
  const Price far = Explained(*estimator, {.n = 2048, .kv_len = 1'000'000});
  EXPECT_EQ(near.route, "mlx.full");
  EXPECT_EQ(near.transient_bytes, far.transient_bytes);
  // The well-known q_heads * n * D * 4 of 16-bit types.
  EXPECT_EQ(near.transient_bytes, Bytes{32} * 2048 * 128 * 4);
}

TEST(MlxLawTest, SmallerChunkCostsMoreBelowTheAcceleratorsThreshold) {
  const auto estimator =
      Mlx(AttentionOnly(FullMixer(24, 4, 256)), "0.32.2", "metal-nax");
  const Price fused = Explained(*estimator, {.n = 1024, .kv_len = 100'000});
  const Price unfused = Explained(*estimator, {.n = 512, .kv_len = 100'000});
  EXPECT_EQ(fused.route, "mlx.full");
  EXPECT_EQ(unfused.route, "mlx.unfused");
  EXPECT_GT(unfused.transient_bytes, 50 * fused.transient_bytes);
}

TEST(MlxLawTest, MaskOfUnknownTypePromotesUnfusedScores) {
  const auto estimator = Mlx(AttentionOnly(FullMixer(24, 2, 256)), "0.32.2");
  const Price price = Explained(
      *estimator, {.n = 2048, .kv_len = 180'000, .mask = MaskKind::kArray});
  EXPECT_EQ(TermOf(price, "attention.full", "scores"),
            Bytes{24} * 2048 * 180'000 * 4);
}

TEST(MlxLawTest, MaskGivenAsAnArrayBelongsToTheCaller) {
  const auto estimator = Mlx(AttentionOnly(FullMixer(24, 2, 256)), "0.31.2");
  const Price none = Explained(
      *estimator, {.n = 2048, .kv_len = 8192, .mask = MaskKind::kNone});
  for (const MaskKind mask : {MaskKind::kBool, MaskKind::kFloat}) {
    EXPECT_EQ(Explained(*estimator, {.n = 2048, .kv_len = 8192, .mask = mask})
                  .transient_bytes,
              none.transient_bytes);
  }
}

TEST(MlxLawTest, VectorKernelHasPartialResultsPerBlockOfKeys) {
  const auto estimator = Mlx(AttentionOnly(FullMixer(64, 8, 256)), "0.31.2");
  const Price price = Explained(*estimator, {.n = 4, .kv_len = 1'000'000});
  EXPECT_EQ(price.route, "mlx.vector");
  // 1,024 blocks, each an output row and two fp32 numbers.
  EXPECT_EQ(TermOf(price, "attention.full", "partials"),
            Bytes{64} * 4 * 1024 * (256 * 2 + 8));
}

TEST(MlxLawTest, SlidingLayerAttendsToItsWindowAndTheChunk) {
  const auto estimator =
      Mlx(AttentionOnly(SlidingMixer(16, 8, 256, 1024)), "0.31.2");
  const Price price = Explained(*estimator, {.n = 512, .kv_len = 100'000});
  EXPECT_EQ(price.binding_part, "attention.sliding");
  EXPECT_EQ(TermOf(price, "attention.sliding", "scores"),
            Bytes{16} * 512 * (1023 + 512) * 2);
  EXPECT_EQ(
      price.transient_bytes,
      Explained(*estimator, {.n = 512, .kv_len = 50'000}).transient_bytes);
}

TEST(MlxLawTest, SlidingLayerIsMaskedByAnArrayPastItsWindow) {
  // The accelerators' kernel takes causal calls only.
  const auto estimator =
      Mlx(AttentionOnly(SlidingMixer(16, 8, 256, 2048)), "0.32.2", "metal-nax");
  EXPECT_EQ(Explained(*estimator, {.n = 1024, .kv_len = 2048}).route,
            "mlx.full");
  EXPECT_EQ(Explained(*estimator, {.n = 1024, .kv_len = 2049}).route,
            "mlx.unfused");
}

TEST(MlxLawTest, LatentLayerExpandsItsKeysAndValues) {
  const auto estimator =
      Mlx(AttentionOnly(LatentMixer(64, 192, 64, 256, 512)), "0.31.2");
  const Price price = Explained(*estimator, {.n = 2048, .kv_len = 74'240});
  EXPECT_EQ(TermOf(price, "attention.latent", "scores"),
            Bytes{64} * 2048 * 74'240 * 2);
  EXPECT_EQ(TermOf(price, "attention.latent", "expanded_keys"),
            Bytes{64} * 74'240 * 192 * 2);
  EXPECT_EQ(TermOf(price, "attention.latent.output", "expanded_values"),
            Bytes{64} * 74'240 * 256 * 2);
  EXPECT_EQ(price.fixed_in_n_bytes, Bytes{64} * 74'240 * 256 * 2);
}

TEST(MlxLawTest, FusedLatentLayerStillHasItsRotaryScores) {
  const auto estimator =
      Mlx(AttentionOnly(LatentMixer(64, 128, 64, 128, 512)), "0.31.2");
  const Price price = Explained(*estimator, {.n = 2048, .kv_len = 74'240});
  EXPECT_EQ(price.route, "mlx.full");
  EXPECT_EQ(TermOf(price, "attention.latent", "scores"),
            Bytes{64} * 2048 * 74'240 * 2);
}

TEST(MlxLawTest, LatentLayerOfOneQueryStaysInTheLatentSpace) {
  const auto estimator =
      Mlx(AttentionOnly(LatentMixer(64, 192, 64, 256, 512)), "0.31.2");
  const Price price = Explained(*estimator, {.n = 1, .kv_len = 74'240});
  EXPECT_LT(price.transient_bytes, Bytes{16} << 20);
  EXPECT_EQ(price.fixed_in_n_bytes, 0);
}

TEST(MlxLawTest, IndexerScoresEveryKeyOnceMoreAreKeptThanItChooses) {
  Mixer mixer = LatentMixer(64, 192, 64, 256, 512);
  mixer.index_heads = 32;
  mixer.index_head_dim = 128;
  mixer.index_topk = 2048;
  mixer.stores_index = true;
  const auto estimator = Mlx(AttentionOnly(mixer), "0.31.2");
  const Price dense = Explained(*estimator, {.n = 512, .kv_len = 2048});
  const Price sparse = Explained(*estimator, {.n = 512, .kv_len = 2049});
  EXPECT_EQ(TermOf(dense, "attention.indexer", "index_scores"), -1);
  EXPECT_EQ(TermOf(sparse, "attention.indexer", "index_scores"),
            Bytes{32} * 512 * 2049 * 2);
}

TEST(MlxLawTest, LatentScoresOptionCountsTheirCopies) {
  const ModelShape shape = AttentionOnly(LatentMixer(64, 192, 64, 256, 512));
  const Chunk chunk{.n = 2048, .kv_len = 74'240};
  const Price two = Explained(
      *Mlx(shape, "0.31.2", "metal", {{"latent_scores", "2"}}), chunk);
  EXPECT_EQ(TermOf(two, "attention.latent", "scores"),
            Bytes{2} * 64 * 2048 * 74'240 * 2);
  EXPECT_EQ(two.largest_allocation_bytes, Bytes{64} * 2048 * 74'240 * 2);
}

TEST(MlxLawTest, SoftCappedScoresAreWrittenOutWhateverTheHeadDim) {
  Mixer mixer = FullMixer(16, 8, 128);
  mixer.softcap = true;
  EXPECT_EQ(Explained(*Mlx(AttentionOnly(mixer), "0.32.2"),
                      {.n = 512, .kv_len = 4096})
                .route,
            "mlx.unfused");
}

TEST(MlxLawTest, ChunksOfOneStepShareTheAttentionTransient) {
  const auto estimator = Mlx(AttentionOnly(FullMixer(24, 4, 256)), "0.31.2");
  const Chunk chunks[] = {{.n = 512, .kv_len = 32768},
                          {.n = 256, .kv_len = 8192}};
  EXPECT_EQ(estimator->Total({.chunks = chunks}).transient_bytes,
            estimator->Total({.chunks = {chunks, 1}}).transient_bytes);
}

TEST(MlxLawTest, TokensOfAStepAddUpOutsideAttention) {
  const auto estimator =
      Mlx(DenseModel({FullMixer(32, 8, 128)}, 4096, 14336, 0), "0.31.2");
  const Chunk two[] = {{.n = 512, .kv_len = 4096}, {.n = 512, .kv_len = 4096}};
  const Chunk one{.n = 1024, .kv_len = 4096};
  EXPECT_EQ(estimator->Total({.chunks = two}).transient_bytes,
            estimator->Total({.chunks = {&one, 1}}).transient_bytes);
}

TEST(MlxLawTest, DecodingSequencesAreBatchedIntoOneCall) {
  // D = 80 has no vector kernel: the scores of all sequences exist at once.
  const auto estimator = Mlx(AttentionOnly(FullMixer(32, 32, 80)), "0.31.2");
  const auto transient = [&](Tokens sequences) {
    return estimator
        ->Total({.decode_tokens = sequences, .decode_kv_len = 100'000})
        .transient_bytes;
  };
  EXPECT_GE(transient(8), Bytes{8} * 32 * 100'000 * 2);
  EXPECT_GT(transient(8), 7 * transient(1));
}

TEST(MlxLawTest, LogitsOfEveryTokenAreATermOfTheirOwn) {
  const auto estimator =
      Mlx(DenseModel({FullMixer(32, 8, 128)}, 4096, 14336, 262'144), "0.31.2");
  const Chunk chunk{.n = 8192, .kv_len = 8192};
  ASSERT_OK_AND_ASSIGN(
      const Price price,
      estimator->Explain({.chunks = {&chunk, 1}, .logits_rows = 8192}));
  EXPECT_EQ(TermOf(price, "head", "logits"), Bytes{8192} * 262'144 * 2);
  EXPECT_EQ(price.binding_part, "head");
}

TEST(MlxLawTest, ConcatenatedCacheHasTheOldCopyOfOneLayer) {
  const auto estimator = Mlx(AttentionOnly(FullMixer(32, 8, 128)), "0.31.2",
                             "metal", {{"kv_cache", "concat"}});
  const Price price = Explained(*estimator, {.n = 256, .kv_len = 100'000});
  EXPECT_EQ(price.binding_part, "attention.concat");
  EXPECT_EQ(price.transient_bytes, Bytes{100'000} * 8 * 256 * 2);
  EXPECT_EQ(price.fixed_in_n_bytes, price.transient_bytes);
}

TEST(MlxLawTest, LinearLayersHaveNoTermInTheKvLength) {
  ModelShape shape = DenseModel({DeltaNetMixer()}, 2048, 512, 0);
  const auto estimator = Mlx(shape, "0.31.2");
  const Price near = Explained(*estimator, {.n = 1024, .kv_len = 1024});
  const Price far = Explained(*estimator, {.n = 1024, .kv_len = 200'000});
  EXPECT_EQ(near.binding_part, "attention.linear");
  EXPECT_EQ(near.transient_bytes, far.transient_bytes);
  EXPECT_EQ(near.route, "none");
}

// Measured calls, MLX 0.32.1 on its CPU backend.
TEST(MlxLawTest, AgreesWithMeasuredCalls) {
  std::ifstream file(std::string(TIDEGATE_SOURCE_DIR) +
                     "/tests/data/mlx_attention_cpu.csv");
  ASSERT_TRUE(file.is_open());
  int rows = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#') || line.starts_with("dtype")) continue;
    std::istringstream fields(line);
    std::vector<std::string> f;
    for (std::string field; std::getline(fields, field, ',');) {
      f.push_back(field);
    }
    ASSERT_EQ(f.size(), 9) << line;
    ASSERT_OK_AND_ASSIGN(const ComputeType compute, ParseComputeType(f[0]));
    Mixer mixer =
        FullMixer(std::stoll(f[1]), std::stoll(f[2]), std::stoll(f[3]));
    mixer.head_dim_v = std::stoll(f[4]);
    const Chunk chunk{.n = std::stoll(f[5]),
                      .kv_len = std::stoll(f[6]),
                      .mask = *ParseMask(f[7])};
    const Bytes measured = std::stoll(f[8]);
    const Bytes price = Mlx(AttentionOnly(mixer, compute), "0.32.1", "cpu")
                            ->Total({.chunks = {&chunk, 1}})
                            .transient_bytes;
    // 0.1 % and a few bytes of rounding below; 30 % above, where MLX reused
    // a buffer of equal size.
    EXPECT_GE(price + price / 1000 + 64, measured) << line;
    EXPECT_LE(price, measured + measured * 3 / 10 + 64) << line;
    ++rows;
  }
  EXPECT_EQ(rows, 44);
}

}  // namespace
}  // namespace tidegate
