// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/torch_law.h"

#include <memory>
#include <string>
#include <vector>

#include "tests/testing/matchers.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::tidegate::testing::IsOk;
using ::tidegate::testing::StatusIs;

// One attention layer: 32 query heads in groups of 4.
struct Layer32 {
  std::int64_t head_dim = 128;
  std::int64_t head_dim_v = 128;
  std::int64_t kv_heads = 8;
  ComputeType compute = ComputeType::kBf16;
  Tokens window = 0;
};

ModelShape ShapeOf(const Layer32& layer) {
  ModelShape shape;
  shape.name = "test";
  shape.compute = layer.compute;
  shape.mixers = {
      Mixer{.kind = layer.window > 0 ? MixerKind::kSliding : MixerKind::kFull,
            .q_heads = 32,
            .kv_heads = layer.kv_heads,
            .head_dim = layer.head_dim,
            .head_dim_v = layer.head_dim_v,
            .window = layer.window}};
  shape.feed_forwards = {FeedForward{.kind = FeedForwardKind::kNone}};
  shape.layers = {Layer{}};
  return shape;
}

std::unique_ptr<Estimator> Make(
    const ModelShape& shape,
    const std::map<std::string, std::string, std::less<>>& options,
    const std::string& device = "cuda-sm90") {
  EstimatorOptions estimator;
  estimator.shape = shape;
  estimator.engine = {"torch", "2.11.0", device, options};
  absl::StatusOr<CreatedEstimator> created = CreateEstimator(estimator);
  EXPECT_THAT(created, IsOk());
  return std::move(created->estimator);
}

std::string RouteOf(
    const Layer32& layer,
    const std::map<std::string, std::string, std::less<>>& options,
    const Chunk& chunk, const std::string& device = "cuda-sm90") {
  const auto estimator = Make(ShapeOf(layer), options, device);
  const absl::StatusOr<Price> price =
      estimator->Explain({.chunks = {&chunk, 1}});
  return price.ok() ? price->route : "unsupported";
}

constexpr Chunk kNone{512, 4096, MaskKind::kNone};
constexpr Chunk kCausal{512, 4096, MaskKind::kCausal};
constexpr Chunk kWhole{512, 512, MaskKind::kCausal};
constexpr Chunk kBool{512, 4096, MaskKind::kBool};
constexpr Chunk kLower{512, 4096, MaskKind::kLowerRight};

TEST(TorchRoutesTest, FlashTakesNoArrayNoFp32AndNoWideHeads) {
  EXPECT_EQ(RouteOf({}, {{"attention", "flash"}}, kNone), "torch.flash");
  EXPECT_EQ(RouteOf({}, {{"attention", "flash"}}, kLower), "torch.flash");
  EXPECT_EQ(RouteOf({}, {{"attention", "flash"}}, kWhole), "torch.flash");
  EXPECT_EQ(RouteOf({}, {{"attention", "flash"}}, kCausal), "unsupported");
  EXPECT_EQ(RouteOf({}, {{"attention", "flash"}}, kBool), "unsupported");
  EXPECT_EQ(
      RouteOf({.compute = ComputeType::kFp32}, {{"attention", "flash"}}, kNone),
      "unsupported");
  EXPECT_EQ(RouteOf({.head_dim = 512, .head_dim_v = 512},
                    {{"attention", "flash"}}, kNone),
            "unsupported");
  EXPECT_EQ(RouteOf({.head_dim = 192}, {{"attention", "flash"}}, kNone),
            "unsupported");
  // With the bias object a later chunk is right, and runs.
  EXPECT_EQ(RouteOf({}, {{"attention", "flash_lr"}}, kCausal), "torch.flash");
}

TEST(TorchRoutesTest, EfficientTakesNoGroupedHeads) {
  EXPECT_EQ(
      RouteOf({}, {{"attention", "efficient"}, {"gqa", "enable_gqa"}}, kBool),
      "unsupported");
  EXPECT_EQ(RouteOf({}, {{"attention", "efficient"}}, kBool),
            "torch.efficient");
}

TEST(TorchRoutesTest, TorchChoosesByMaskTypeAndGrouping) {
  const Layer32 fp32{.compute = ComputeType::kFp32};
  const Layer32 latent{.head_dim = 192};
  using Options = std::map<std::string, std::string, std::less<>>;
  const Options any = {{"attention", "default"}};
  const Options repeated = {{"attention", "default"}, {"gqa", "repeat_kv"}};
  EXPECT_EQ(RouteOf({}, any, kNone), "torch.cudnn");
  EXPECT_EQ(RouteOf({}, any, kBool), "torch.cudnn");
  EXPECT_EQ(RouteOf({}, any, kLower), "torch.flash");
  EXPECT_EQ(RouteOf({}, any, {512, 512, MaskKind::kLowerRight}), "torch.cudnn");
  EXPECT_EQ(RouteOf(latent, any, kLower), "torch.cudnn");
  EXPECT_EQ(RouteOf(latent, repeated, kLower), "torch.efficient");
  EXPECT_EQ(RouteOf(fp32, any, kBool), "torch.math");
  EXPECT_EQ(RouteOf(fp32, repeated, kBool), "torch.efficient");
  EXPECT_EQ(RouteOf({.head_dim = 512, .head_dim_v = 512}, any, kNone),
            "torch.math");
}

TEST(TorchRoutesTest, OlderDevicesPreferFlash) {
  EXPECT_EQ(RouteOf({}, {{"attention", "default"}}, kNone, "cuda-sm80"),
            "torch.flash");
  EXPECT_EQ(RouteOf({}, {{"attention", "default"}}, kNone, "cuda-sm75"),
            "torch.math");
}

TEST(TorchLawTest, EnableGqaSwapsTheKernelInFp32) {
  // 757 MB against 143 MB in the measured table.
  const ModelShape shape = ShapeOf({.compute = ComputeType::kFp32});
  const auto grouped = Make(shape, {{"attention", "default"},
                                    {"gqa", "enable_gqa"},
                                    {"kv_cache", "prealloc"}});
  const auto repeated = Make(shape, {{"attention", "default"},
                                     {"gqa", "repeat_kv"},
                                     {"kv_cache", "prealloc"}});
  const StepQuery step{.chunks = {&kNone, 1}};
  EXPECT_GT(grouped->Total(step).transient_bytes,
            5 * repeated->Total(step).transient_bytes);
}

TEST(TorchLawTest, WhatDoesNotRunFitsNowhereAndSaysWhy) {
  const auto flash = Make(ShapeOf({}), {{"attention", "flash"}});
  const StepQuery step{.chunks = {&kBool, 1}};
  EXPECT_EQ(flash->Total(step).transient_bytes, kBytesMax);
  EXPECT_THAT(flash->Explain(step),
              StatusIs(absl::StatusCode::kUnimplemented,
                       HasSubstr("FlashAttention takes no mask array")));
}

TEST(TorchLawTest, OnlyTheMeasuredDeviceIsNotAssumed) {
  EXPECT_FALSE(Make(ShapeOf({}), {})->Assumed());
  EXPECT_TRUE(Make(ShapeOf({}), {}, "cuda-sm80")->Assumed());
}

TEST(TorchLawTest, PreallocatedCacheIsNeitherConcatenatedNorGrown) {
  const StepQuery step{.chunks = {&kNone, 1}};
  const auto dynamic = Make(ShapeOf({}), {{"attention", "cudnn"}});
  const auto prealloc =
      Make(ShapeOf({}), {{"attention", "cudnn"}, {"kv_cache", "prealloc"}});
  // 8 heads of 128 + 128, 2 bytes.
  EXPECT_EQ(dynamic->Total(step).resident_bytes, 512 * 8 * 256 * 2);
  EXPECT_EQ(prealloc->Total(step).resident_bytes, 0);
  // The old keys of one layer, beside the longer tensor.
  EXPECT_EQ(dynamic->Total(step).fixed_in_n_bytes, 4096 * 8 * 128 * 2);
  EXPECT_EQ(prealloc->Total(step).fixed_in_n_bytes, 0);
}

TEST(TorchLawTest, ChunksOfAStepShareScratchButKeepTheirOutputs) {
  const auto estimator =
      Make(ShapeOf({}), {{"attention", "math"}, {"kv_cache", "prealloc"}});
  const Chunk one{256, 4096, MaskKind::kNone};
  const std::vector<Chunk> two = {one, one};
  const Bytes single = estimator->Total({.chunks = {&one, 1}}).transient_bytes;
  const Bytes both = estimator->Total({.chunks = two}).transient_bytes;
  EXPECT_EQ(both - single, 256 * 32 * 128 * 2);
}

TEST(TorchLawTest, AKnownWidthAddsTheRestOfTheModel) {
  ModelShape shape = ShapeOf({});
  shape.hidden = 4096;
  shape.vocab = 128256;
  shape.feed_forwards = {
      FeedForward{.kind = FeedForwardKind::kDense, .intermediate = 14336}};
  const auto estimator =
      Make(shape, {{"attention", "cudnn"}, {"kv_cache", "prealloc"}});
  ASSERT_OK_AND_ASSIGN(const Price price,
                       estimator->Explain({.chunks = {&kNone, 1}}));
  EXPECT_EQ(price.binding_part, "feed_forward");
  EXPECT_THAT(price.parts, Contains(::testing::Field(&Part::name, "head")));
}

TEST(TorchLawTest, PricesOnlyFallAtBreakpoints) {
  for (const std::string attention :
       {"sdpa", "eager", "flash_lr", "default", "cudnn", "efficient", "math",
        "math_rp", "tiled_math", "tiled_inplace"}) {
    for (const Layer32& layer :
         {Layer32{}, Layer32{.compute = ComputeType::kFp32},
          Layer32{.window = 600}, Layer32{.head_dim = 192, .kv_heads = 32},
          Layer32{.compute = ComputeType::kFp32, .window = 600}}) {
      const auto estimator = Make(ShapeOf(layer), {{"attention", attention},
                                                   {"kv_cache", "prealloc"},
                                                   {"tile", "128"}});
      for (const MaskKind mask :
           {MaskKind::kNone, MaskKind::kCausal, MaskKind::kBool,
            MaskKind::kFloat, MaskKind::kLowerRight}) {
        for (const auto& [axis, fixed] : {std::pair{Axis::kN, Tokens{1700}},
                                          {Axis::kKvLen, Tokens{150}},
                                          {Axis::kChunk, Tokens{0}},
                                          {Axis::kChunk, Tokens{501}}}) {
          const Tokens lo = axis == Axis::kKvLen ? fixed : 1;
          const Tokens hi = 1700;
          std::vector<Tokens> breaks;
          estimator->Breakpoints(axis, fixed, lo, hi, mask, &breaks);
          EXPECT_TRUE(std::is_sorted(breaks.begin(), breaks.end()));
          PriceTotals before{};
          for (Tokens v = lo; v <= hi; ++v) {
            Chunk chunk{v, v, mask};
            if (axis == Axis::kN) chunk.kv_len = fixed;
            if (axis == Axis::kKvLen) chunk.n = fixed;
            if (axis == Axis::kChunk) chunk.kv_len = fixed + v;
            const PriceTotals now = estimator->Total({.chunks = {&chunk, 1}});
            if (now.transient_bytes < before.transient_bytes ||
                now.largest_allocation_bytes <
                    before.largest_allocation_bytes) {
              ASSERT_TRUE(std::binary_search(breaks.begin(), breaks.end(), v))
                  << attention << ", mask " << static_cast<int>(mask)
                  << ", axis " << static_cast<int>(axis) << ", fixed " << fixed
                  << ", window " << layer.window << ", v " << v;
            }
            before = now;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace tidegate::internal
