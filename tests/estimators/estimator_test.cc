// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/estimator.h"

#include <memory>
#include <vector>

#include "estimators/resident_model.h"
#include "tests/testing/matchers.h"
#include "tests/testing/shapes.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using tidegate::testing::AttentionOnly;
using tidegate::testing::DeltaNetMixer;
using tidegate::testing::DenseModel;
using tidegate::testing::FullMixer;
using tidegate::testing::IsOk;
using tidegate::testing::LatentMixer;
using tidegate::testing::SlidingMixer;
using tidegate::testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::Status Validated(const Chunk& chunk) {
  return ValidateStep({.chunks = {&chunk, 1}});
}

ModelShape Hybrid() {
  ModelShape shape =
      DenseModel({FullMixer(16, 4, 256), SlidingMixer(16, 8, 128, 1024),
                  DeltaNetMixer(), LatentMixer(16, 128, 64, 128, 512)},
                 2048, 8192, 100'000);
  shape.layers.push_back({.mixer = 1});
  return shape;
}

EstimatorOptions Mlx(const ModelShape& shape) {
  return {.shape = shape, .engine = {"mlx", "0.31.2", "metal", {}}};
}

TEST(ValidateStepTest, TakesAChunkOrADecodeToken) {
  EXPECT_THAT(Validated({.n = 1, .kv_len = 1}), IsOk());
  EXPECT_THAT(Validated({.n = kTokensMax, .kv_len = kTokensMax}), IsOk());
  EXPECT_THAT(ValidateStep({.decode_tokens = 1, .decode_kv_len = 1}), IsOk());
}

TEST(ValidateStepTest, NamesTheFieldThatIsWrong) {
  EXPECT_THAT(Validated({.n = 0, .kv_len = 1}),
              StatusIs(kInvalid, HasSubstr("chunk.n: expected 1")));
  EXPECT_THAT(Validated({.n = 2, .kv_len = 1}),
              StatusIs(kInvalid, HasSubstr("chunk.kv_len: expected at least")));
  EXPECT_THAT(Validated({.n = 1, .kv_len = kTokensMax + 1}),
              StatusIs(kInvalid, HasSubstr("chunk.kv_len")));
  EXPECT_THAT(ValidateStep({}), StatusIs(kInvalid, HasSubstr("step")));
  EXPECT_THAT(ValidateStep({.decode_tokens = -1}),
              StatusIs(kInvalid, HasSubstr("decode_tokens")));
  EXPECT_THAT(ValidateStep({.decode_tokens = 1}),
              StatusIs(kInvalid, HasSubstr("decode_kv_len")));
}

TEST(ValidateStepTest, BoundsTheTokensOfAllChunksTogether) {
  const Chunk chunks[] = {{.n = kTokensMax, .kv_len = kTokensMax},
                          {.n = 1, .kv_len = 1}};
  EXPECT_THAT(ValidateStep({.chunks = chunks}),
              StatusIs(kInvalid, HasSubstr("tokens of the step")));
}

TEST(CreateEstimatorTest, SuggestsAnEstimator) {
  EstimatorOptions options = Mlx(Hybrid());
  options.use = "unfuse";
  EXPECT_THAT(CreateEstimator(options).status(),
              StatusIs(kInvalid, HasSubstr("did you mean \"unfused\"?")));
}

TEST(CreateEstimatorTest, RefusesWidthsAndTilesOutOfRange) {
  EstimatorOptions options = Mlx(Hybrid());
  options.score_bytes = 65;
  EXPECT_THAT(CreateEstimator(options).status(),
              StatusIs(kInvalid, HasSubstr("estimator.score_bytes")));
  options = Mlx(Hybrid());
  options.tile_q = 0;
  EXPECT_THAT(CreateEstimator(options).status(),
              StatusIs(kInvalid, HasSubstr("estimator.tile_q")));
}

TEST(CreateEstimatorTest, RefusesAnEngineOptionThatDoesNotExist) {
  EstimatorOptions options = Mlx(Hybrid());
  options.engine.options = {{"forced", "true"}};
  EXPECT_THAT(CreateEstimator(options).status(),
              StatusIs(kInvalid, HasSubstr("did you mean \"force\"?")));
}

TEST(CreateEstimatorTest, TakesACatalogueInPlaceOfTheBuiltinOne) {
  EstimatorOptions options = Mlx(AttentionOnly(FullMixer(16, 4, 256)));
  options.catalogue_file = "mine.toml";
  options.catalogue =
      "[engine]\nname = \"mlx\"\nlaw = \"mlx\"\noldest = \"0.31\"\n"
      "newest = \"0.33\"\ndevices = [\"metal\"]\n"
      "[[rule]]\nkernel = \"mlx.full\"\nsource = \"a patch\"\n";
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(options));
  const Chunk chunk{.n = 512, .kv_len = 8192};
  ASSERT_OK_AND_ASSIGN(const Price price,
                       created.estimator->Explain({.chunks = {&chunk, 1}}));
  EXPECT_EQ(price.route, "mlx.full");
}

TEST(CreateEstimatorTest, NamesTheFileOfABrokenCatalogue) {
  EstimatorOptions options = Mlx(Hybrid());
  options.catalogue_file = "mine.toml";
  options.catalogue = "[engine]\nname = 3\n";
  EXPECT_THAT(CreateEstimator(options).status(),
              StatusIs(kInvalid, HasSubstr("mine.toml:2:8: engine.name")));
}

TEST(EstimatorTest, NewerVersionIsAssumedAndWarnedAboutOnce) {
  EstimatorOptions options = Mlx(Hybrid());
  options.engine.version = "0.99";
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(options));
  EXPECT_TRUE(created.estimator->Assumed());
  EXPECT_THAT(created.warnings, ElementsAre(HasSubstr("0.99")));
}

TEST(EstimatorTest, PreallocatedCacheGrowsByNothing) {
  EstimatorOptions options = Mlx(Hybrid());
  options.engine.options = {{"kv_cache", "prealloc"}};
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(options));
  const Chunk chunk{.n = 512, .kv_len = 8192};
  EXPECT_TRUE(created.estimator->KvPreallocated());
  EXPECT_EQ(created.estimator->Total({.chunks = {&chunk, 1}}).resident_bytes,
            0);
  EXPECT_GT(created.estimator->SequenceBytes(8192, 512), 0);
}

TEST(EstimatorTest, ResidentGrowthOfEqualChunksAddsUpToTheSequence) {
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(Mlx(Hybrid())));
  Bytes sum = 0;
  for (Tokens k = 256; k <= 8192; k += 256) {
    const Chunk chunk{.n = 256, .kv_len = k};
    sum += created.estimator->Total({.chunks = {&chunk, 1}}).resident_bytes;
  }
  EXPECT_EQ(sum, Hybrid().SequenceBytes(8192, 256));
  EXPECT_EQ(sum, created.estimator->SequenceBytes(8192, 256));
}

TEST(EstimatorTest, CachedTokensAddNoResidentBytes) {
  ASSERT_OK_AND_ASSIGN(
      const CreatedEstimator created,
      CreateEstimator(Mlx(AttentionOnly(FullMixer(16, 4, 256)))));
  const Chunk chunk{.n = 1000, .kv_len = 100'000};
  EXPECT_EQ(created.estimator->Total({.chunks = {&chunk, 1}}).resident_bytes,
            Bytes{1000} * 2 * 4 * 256 * 2);
}

TEST(EstimatorTest, FullWidthCacheStandsBesideTheStoredOneDuringPrefill) {
  ModelShape shape = AttentionOnly(FullMixer(16, 4, 256));
  shape.kv_element = ElementSize::OfBytes(1);
  EstimatorOptions options = Mlx(shape);
  options.engine.options = {{"prefill_kv", "full"}};
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(options));
  EXPECT_EQ(created.estimator->SequenceBytes(1000, 100),
            Bytes{1000} * 2 * 4 * 256 * (1 + 2));
}

TEST(EstimatorTest, LlamaCppPaysWhenTheModelLoads) {
  EstimatorOptions options{
      .shape = DenseModel({FullMixer(8, 2, 64)}, 512, 1536, 1000),
      .engine = {"llamacpp",
                 "b5000",
                 "cpu",
                 {{"n_ubatch", "512"}, {"n_ctx", "8192"}}}};
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(options));
  const Estimator& estimator = *created.estimator;
  EXPECT_EQ(estimator.Timing(), TransientTiming::kAtLoad);
  EXPECT_TRUE(estimator.KvPreallocated());
  const Chunk narrow{.n = 32, .kv_len = 64};
  const Chunk wide{.n = 512, .kv_len = 8192};
  EXPECT_EQ(estimator.Total({.chunks = {&narrow, 1}}).transient_bytes,
            estimator.Total({.chunks = {&wide, 1}}).transient_bytes);
}

TEST(EstimatorTest, BreakpointsAscendWithoutRepeats) {
  ModelShape shape = Hybrid();
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(Mlx(shape)));
  std::vector<Tokens> out = {5};
  created.estimator->Breakpoints(Axis::kChunk, 4096, 1, 4096, MaskKind::kCausal,
                                 &out);
  ASSERT_GT(out.size(), 1);
  EXPECT_EQ(out[0], 5);
  for (std::size_t i = 2; i < out.size(); ++i) EXPECT_LT(out[i - 1], out[i]);
}

TEST(EstimatorTest, FusedPriceHasNoBreakpoints) {
  EstimatorOptions options = Mlx(AttentionOnly(FullMixer(32, 8, 128)));
  options.engine.version = "0.25.0";
  ASSERT_OK_AND_ASSIGN(const CreatedEstimator created,
                       CreateEstimator(options));
  std::vector<Tokens> out;
  created.estimator->Breakpoints(Axis::kN, 100'000, 16, 8192, MaskKind::kCausal,
                                 &out);
  EXPECT_THAT(out, IsEmpty());
}

TEST(ResidentModelTest, AgreesWithTheShape) {
  for (const ElementSize element :
       {ElementSize::OfBytes(2), ElementSize{34 * 65536 / 32},
        ElementSize{33 * 65536 / 64}}) {
    ModelShape shape = Hybrid();
    shape.kv_element = element;
    const internal::ResidentModel model(shape, false);
    for (const Tokens tokens : {0, 1, 2, 1000, 1024, 5000, 100'000}) {
      for (const Tokens chunk : {1, 2, 777, 2048}) {
        EXPECT_EQ(model.SequenceBytes(tokens, chunk),
                  shape.SequenceBytes(tokens, chunk))
            << tokens << " " << chunk;
      }
    }
  }
}

}  // namespace
}  // namespace tidegate
