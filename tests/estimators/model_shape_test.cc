// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/model_shape.h"

#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

Mixer Full(std::int64_t q_heads, std::int64_t kv_heads, std::int64_t dim) {
  Mixer m;
  m.q_heads = q_heads;
  m.kv_heads = kv_heads;
  m.head_dim = dim;
  m.head_dim_v = dim;
  return m;
}

Mixer Sliding(std::int64_t kv_heads, std::int64_t dim, Tokens window) {
  Mixer m = Full(kv_heads, kv_heads, dim);
  m.kind = MixerKind::kSliding;
  m.window = window;
  return m;
}

Mixer Latent(std::int64_t rank, std::int64_t rope) {
  Mixer m = Full(16, 16, 192);
  m.kind = MixerKind::kLatent;
  m.kv_lora_rank = rank;
  m.rope_dim = rope;
  return m;
}

// A gated delta net layer as Qwen3-Next-80B-A3B has it.
Mixer DeltaNet() {
  Mixer m;
  m.kind = MixerKind::kLinear;
  m.linear = LinearKind::kGatedDeltaNet;
  m.linear_key_heads = 16;
  m.linear_value_heads = 32;
  m.linear_key_dim = 128;
  m.linear_value_dim = 128;
  m.linear_inner = 4096;
  m.conv_dim = 8192;
  m.conv_kernel = 4;
  return m;
}

Mixer None() {
  Mixer m;
  m.kind = MixerKind::kNone;
  return m;
}

// One layer of each mixer, in order.
ModelShape ShapeOf(std::vector<Mixer> mixers) {
  ModelShape shape;
  shape.hidden = 1024;
  FeedForward block;
  block.intermediate = 4096;
  shape.feed_forwards = {block};
  for (std::size_t i = 0; i < mixers.size(); ++i) {
    shape.layers.push_back({.mixer = static_cast<int>(i), .feed_forward = 0});
  }
  shape.mixers = std::move(mixers);
  return shape;
}

TEST(ModelShapeTest, AFullLayerKeepsKeysAndValuesOfEachToken) {
  const ModelShape shape = ShapeOf({Full(32, 8, 128)});
  EXPECT_EQ(shape.KvBytesPerToken(), 2 * 8 * 128 * 2);
  EXPECT_EQ(shape.SequenceBytes(1000, 100), 1000 * 2 * 8 * 128 * 2);
}

TEST(ModelShapeTest, KeysAndValuesMayDifferInWidth) {
  Mixer m = Full(64, 4, 192);
  m.head_dim_v = 128;
  EXPECT_EQ(ShapeOf({m}).KvBytesPerToken(), 4 * (192 + 128) * 2);
}

TEST(ModelShapeTest, AWindowAddsNothingToTheSlope) {
  EXPECT_EQ(ShapeOf({Sliding(8, 256, 1024)}).KvBytesPerToken(), 0);
}

TEST(ModelShapeTest, AWindowKeepsTheTokensBeforeTheChunkAndTheChunk) {
  const ModelShape shape = ShapeOf({Sliding(8, 256, 1024)});
  const Bytes row = 2 * 8 * 256 * 2;
  EXPECT_EQ(shape.SequenceBytes(500, 128), 500 * row);
  EXPECT_EQ(shape.SequenceBytes(1151, 128), 1151 * row);
  EXPECT_EQ(shape.SequenceBytes(1152, 128), 1151 * row);
  EXPECT_EQ(shape.SequenceBytes(1'000'000, 2048), (1023 + 2048) * row);
}

// Bytes held after a chunk of 128 tokens at length 8192 in transformers 5.17,
// on an H100.
TEST(ModelShapeTest, WindowsMatchWhatAnEngineHolds) {
  const ModelShape shape = ShapeOf({Sliding(8, 256, 1024), Full(16, 8, 256)});
  EXPECT_EQ(shape.SequenceBytes(8192, 128), 76'537'856);
  EXPECT_EQ(shape.SequenceBytes(131'072, 2048), 1'098'899'456);
}

TEST(ModelShapeTest, ALatentLayerKeepsOneRowPerToken) {
  EXPECT_EQ(ShapeOf({Latent(512, 64)}).KvBytesPerToken(), (512 + 64) * 2);
}

TEST(ModelShapeTest, OnlyLayersThatStoreAnIndexPayForIt) {
  Mixer indexed = Latent(512, 64);
  indexed.index_heads = 32;
  indexed.index_head_dim = 128;
  indexed.index_topk = 2048;
  Mixer sharing = indexed;
  indexed.stores_index = true;
  EXPECT_EQ(ShapeOf({indexed, sharing}).KvBytesPerToken(),
            (576 + 128 + 576) * 2);
}

TEST(ModelShapeTest, ALinearLayerKeepsAConstantState) {
  const ModelShape shape = ShapeOf({DeltaNet()});
  const Bytes state = 8192 * 4 * 2 + 32 * 128 * 128 * 4;
  EXPECT_EQ(state, 2'162'688);
  EXPECT_EQ(shape.KvBytesPerToken(), 0);
  EXPECT_EQ(shape.SequenceBytes(1, 1), state);
  EXPECT_EQ(shape.SequenceBytes(1'000'000, 2048), state);
}

// As above: 128 and 8192 tokens.
TEST(ModelShapeTest, LinearStatesMatchWhatAnEngineHolds) {
  const ModelShape shape = ShapeOf({DeltaNet(), Full(16, 2, 256)});
  EXPECT_EQ(shape.SequenceBytes(128, 128), 2'424'832);
  EXPECT_EQ(shape.SequenceBytes(8192, 2048), 18'939'904);
}

TEST(ModelShapeTest, AMamba1StateIsInnerWidthTimesStateSize) {
  Mixer m;
  m.kind = MixerKind::kLinear;
  m.linear = LinearKind::kMamba1;
  m.linear_inner = 8192;
  m.linear_key_dim = 16;
  m.conv_dim = 8192;
  m.conv_kernel = 4;
  EXPECT_EQ(ShapeOf({m}).SequenceBytes(10, 10), 8192 * 4 * 2 + 8192 * 16 * 4);
}

TEST(ModelShapeTest, AStateInTheComputeTypeIsHalfAsWide) {
  Mixer m = DeltaNet();
  m.state_element_bytes = 2;
  EXPECT_EQ(ShapeOf({m}).SequenceBytes(10, 10),
            8192 * 4 * 2 + 32 * 128 * 128 * 2);
}

TEST(ModelShapeTest, ALayerWithoutAMixerKeepsNothing) {
  const ModelShape shape = ShapeOf({None(), None()});
  EXPECT_THAT(shape.Validate(), IsOk());
  EXPECT_EQ(shape.KvBytesPerToken(), 0);
  EXPECT_EQ(shape.SequenceBytes(1000, 10), 0);
}

TEST(ModelShapeTest, ALayerThatReadsAnothersCacheKeepsNothing) {
  Mixer shared = Full(8, 2, 256);
  shared.stores_kv = false;
  const ModelShape shape = ShapeOf({Full(8, 2, 256), shared});
  EXPECT_EQ(shape.KvBytesPerToken(), 2 * 2 * 256 * 2);
  EXPECT_EQ(shape.SequenceBytes(100, 10), 100 * 2 * 2 * 256 * 2);
}

TEST(ModelShapeTest, ASecondMixerOfALayerKeepsItsOwn) {
  ModelShape shape = ShapeOf({Full(12, 2, 128), DeltaNet()});
  shape.layers = {{.mixer = 0, .feed_forward = 0, .extra_mixer = 1}};
  EXPECT_THAT(shape.Validate(), IsOk());
  EXPECT_EQ(shape.MixerCount(0), 1);
  EXPECT_EQ(shape.MixerCount(1), 1);
  EXPECT_EQ(shape.SequenceBytes(10, 10), 10 * 2 * 2 * 128 * 2 + 2'162'688);
}

TEST(ModelShapeTest, NoTokensKeepNoBytes) {
  const ModelShape shape = ShapeOf({DeltaNet(), Full(8, 8, 64)});
  EXPECT_EQ(shape.SequenceBytes(0, 2048), 0);
  EXPECT_EQ(shape.SequenceBytes(-5, 1), 0);
}

TEST(ModelShapeTest, AChunkLongerThanTheSequenceCountsAsTheSequence) {
  const ModelShape shape = ShapeOf({Sliding(1, 64, 16)});
  EXPECT_EQ(shape.SequenceBytes(10, 4096), shape.SequenceBytes(10, 10));
  EXPECT_EQ(shape.SequenceBytes(100, 0), shape.SequenceBytes(100, 1));
}

TEST(ModelShapeTest, AFractionalWidthIsRoundedOnceForTheModel) {
  ModelShape shape = ShapeOf({Full(1, 1, 1), Full(1, 1, 1)});
  shape.kv_element = ElementSize{65536 / 4};  // a quarter of a byte
  EXPECT_EQ(shape.KvBytesPerToken(), 1);
  shape.kv_element = ElementSize{65536 / 8};
  EXPECT_EQ(shape.KvBytesPerToken(), 1);
}

TEST(ModelShapeTest, StoredKvMayBeNarrowerThanTheArithmetic) {
  ModelShape shape = ShapeOf({Full(64, 8, 128)});
  shape.kv_element = ElementSize{33792};  // 4-bit codes, a scale per row
  EXPECT_EQ(shape.KvBytesPerToken(), 2 * 8 * 128 * 33 / 64);
}

TEST(ModelShapeTest, AbsurdSizesSaturateInsteadOfWrapping) {
  Mixer m = Full(1, 1, std::int64_t{1} << 62);
  const ModelShape shape = ShapeOf({m, m, m});
  EXPECT_EQ(shape.KvBytesPerToken(), kBytesMax);
  EXPECT_EQ(shape.SequenceBytes(kTokensMax, 1), kBytesMax);
}

TEST(ModelShapeTest, LayersAreRepeatedToReachACount) {
  ModelShape shape = ShapeOf({DeltaNet(), Full(16, 2, 256)});
  shape.weight_bytes = 100;
  const ModelShape five = shape.WithLayers(5);
  EXPECT_EQ(five.layers.size(), 5u);
  EXPECT_EQ(five.MixerCount(0), 3);
  EXPECT_EQ(five.MixerCount(1), 2);
  EXPECT_FALSE(five.weight_bytes.has_value());
}

TEST(ModelShapeTest, LayersAreCutToReachACount) {
  const ModelShape shape = ShapeOf({DeltaNet(), Full(16, 2, 256)});
  EXPECT_EQ(shape.WithLayers(1).MixerCount(1), 0);
}

TEST(ModelShapeTest, TheSameCountOfLayersIsTheSameModel) {
  ModelShape shape = ShapeOf({Full(1, 1, 8), Full(2, 1, 8)});
  shape.weight_bytes = 100;
  EXPECT_EQ(shape.WithLayers(2), shape);
}

TEST(ModelShapeTest, NoLayersAreNoModel) {
  EXPECT_THAT(ShapeOf({Full(1, 1, 8)}).WithLayers(0).Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "layers: expected at least one layer, got none"));
}

struct BrokenShape {
  const char* name;
  void (*break_it)(ModelShape&);
  const char* message;
};

class BrokenShapeTest : public ::testing::TestWithParam<BrokenShape> {};

TEST_P(BrokenShapeTest, IsRefusedByItsField) {
  ModelShape shape = ShapeOf({Full(32, 8, 128)});
  ASSERT_THAT(shape.Validate(), IsOk());
  GetParam().break_it(shape);
  EXPECT_THAT(shape.Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument, GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenShapeTest,
    ::testing::Values(
        BrokenShape{"Hidden", [](ModelShape& s) { s.hidden = -1; },
                    "hidden: expected no negative number, got -1"},
        BrokenShape{"KvElement", [](ModelShape& s) { s.kv_element = {0}; },
                    "kv_element: expected a positive number, got 0"},
        BrokenShape{"WeightBytes", [](ModelShape& s) { s.weight_bytes = -1; },
                    "weight_bytes: expected no negative number, got -1"},
        BrokenShape{"MaxPosition", [](ModelShape& s) { s.max_position = 0; },
                    "max_position: expected a positive number, got 0"},
        BrokenShape{"KvHeads", [](ModelShape& s) { s.mixers[0].kv_heads = 0; },
                    "mixers[0].kv_heads: expected a positive number, got 0"},
        BrokenShape{"Groups", [](ModelShape& s) { s.mixers[0].kv_heads = 5; },
                    "mixers[0].q_heads: expected a multiple of kv_heads (5), "
                    "got 32"},
        BrokenShape{
            "Window",
            [](ModelShape& s) { s.mixers[0].kind = MixerKind::kSliding; },
            "mixers[0].window: expected a positive number, got 0"},
        BrokenShape{
            "Latent",
            [](ModelShape& s) { s.mixers[0].kind = MixerKind::kLatent; },
            "mixers[0].kv_lora_rank: expected a positive number, "
            "got 0"},
        BrokenShape{
            "Linear",
            [](ModelShape& s) { s.mixers[0].kind = MixerKind::kLinear; },
            "mixers[0].linear_inner: expected a positive number, "
            "got 0"},
        BrokenShape{"Dense",
                    [](ModelShape& s) { s.feed_forwards[0].intermediate = 0; },
                    "feed_forwards[0].intermediate: expected a positive "
                    "number, got 0"},
        BrokenShape{"TopK",
                    [](ModelShape& s) {
                      FeedForward& f = s.feed_forwards[0];
                      f.kind = FeedForwardKind::kMoe;
                      f.experts = 4;
                      f.top_k = 5;
                    },
                    "feed_forwards[0].top_k: expected at most experts (4), "
                    "got 5"},
        BrokenShape{"MixerIndex", [](ModelShape& s) { s.layers[0].mixer = 1; },
                    "layers[0].mixer: expected an index into mixers, got 1"},
        BrokenShape{"ExtraMixerIndex",
                    [](ModelShape& s) { s.layers[0].extra_mixer = -2; },
                    "layers[0].extra_mixer: expected -1 or an index into "
                    "mixers, got -2"},
        BrokenShape{"BlockIndex",
                    [](ModelShape& s) { s.layers[0].feed_forward = -1; },
                    "layers[0].feed_forward: expected an index into "
                    "feed_forwards, got -1"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tidegate
