// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/model_config.h"

namespace tidegate {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

ModelConfig Inline(const std::string& json) {
  absl::StatusOr<ModelConfig> config = ParseInlineShape(json, "policy.toml");
  EXPECT_THAT(config, IsOk());
  return config.ok() ? *std::move(config) : ModelConfig{};
}

TEST(InlineShapeTest, KvLayersAreFullAndTheRestKeepNothing) {
  const ModelShape shape =
      Inline(R"({"q_heads": 24, "kv_heads": 2, "head_dim": 256, "layers": 60,
                 "kv_layers": 15, "hidden": 4096, "intermediate": 12288,
                 "vocab": 248320, "compute_dtype": "bf16",
                 "kv_dtype": "bf16"})")
          .shape;
  EXPECT_EQ(shape.layers.size(), 60u);
  EXPECT_EQ(shape.MixerCount(0), 15);
  EXPECT_EQ(shape.mixers[1].kind, MixerKind::kNone);
  EXPECT_EQ(shape.KvBytesPerToken(), 15 * 2 * 2 * 256 * 2);
  EXPECT_EQ(shape.vocab, 248320);
}

TEST(InlineShapeTest, HiddenAndWidthsMayBeLeftOut) {
  const ModelShape shape =
      Inline(R"({"q_heads": 8, "kv_heads": 8, "head_dim": 64, "layers": 2})")
          .shape;
  EXPECT_EQ(shape.hidden, 0);
  EXPECT_EQ(shape.vocab, 0);
  EXPECT_EQ(shape.feed_forwards[0].kind, FeedForwardKind::kNone);
  EXPECT_EQ(shape.KvBytesPerToken(), 2 * 2 * 8 * 64 * 2);
}

TEST(InlineShapeTest, NoKvLayersAreAGenuineZero) {
  const ModelShape shape =
      Inline(R"({"q_heads": 8, "kv_heads": 8, "head_dim": 64, "layers": 2,
                 "kv_layers": 0})")
          .shape;
  EXPECT_EQ(shape.KvBytesPerToken(), 0);
  EXPECT_EQ(shape.SequenceBytes(1000, 100), 0);
}

TEST(InlineShapeTest, TheKvTypeMayBeANumberOfBytes) {
  EXPECT_EQ(Inline(R"({"q_heads": 64, "kv_heads": 8, "head_dim": 128,
                       "layers": 64, "kv_dtype": 0.515625})")
                .shape.KvBytesPerToken(),
            67584);
  EXPECT_EQ(Inline(R"({"q_heads": 64, "kv_heads": 8, "head_dim": 128,
                       "layers": 1, "kv_dtype": 1})")
                .shape.KvBytesPerToken(),
            2048);
}

// Types.

TEST(ElementTypeTest, NamesAndNumbersAreWidths) {
  struct Width {
    const char* text;
    std::int64_t per_65536;
  };
  for (const Width& w :
       {Width{"fp32", 262144}, Width{"bfloat16", 131072},
        Width{"torch.float16", 131072}, Width{"fp8", 65536},
        Width{"int8", 65536}, Width{"int4", 32768}, Width{"q8_0", 69632},
        Width{"q4_0", 36864}, Width{"0.515625", 33792}, Width{"2", 131072},
        Width{"0.3", 19661}}) {
    ASSERT_OK_AND_ASSIGN(const ElementSize size, ParseElementSize(w.text));
    EXPECT_EQ(size.per_65536, w.per_65536) << w.text;
  }
}

TEST(ElementTypeTest, OtherTextIsNoWidth) {
  for (const char* text :
       {"", "fp7", "0", "-1", "nan", "inf", "1e9", "9", "1 byte", "0x2"}) {
    EXPECT_THAT(
        ParseElementSize(text),
        StatusIs(kInvalid, HasSubstr("got \"" + std::string(text) + "\"")));
  }
}

TEST(ElementTypeTest, ArithmeticRunsInThreeTypes) {
  ASSERT_OK_AND_ASSIGN(const ComputeType type, ParseComputeType("float32"));
  EXPECT_EQ(type, ComputeType::kFp32);
  EXPECT_THAT(ParseComputeType("fp8"),
              StatusIs(kInvalid, "expected fp32, fp16 or bf16, got \"fp8\""));
}

}  // namespace
}  // namespace tidegate
