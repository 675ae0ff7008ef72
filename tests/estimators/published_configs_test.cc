// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What each published config must give. The products are written out from the
// published numbers, not taken from the code under test.

#include <fstream>
#include <sstream>
#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/model_config.h"

namespace tidegate {
namespace {

using testing::IsOk;

struct Published {
  const char* file;
  std::int64_t layers;
  std::int64_t growing;  // layers whose cache grows with every token
  std::int64_t sliding;  // sliding layers that store KV
  Tokens window;
  std::int64_t linear;
  std::int64_t head_dim;  // of the first attention that grows, else slides
  Bytes kv_bytes_per_token;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t moe_layers = 0;
  std::int64_t shared = 0;  // width of all shared experts
};

constexpr Published kPublished[] = {
    // Dense.
    {"llama-2-7b", 32, 32, 0, 0, 0, 128, 32 * 2 * 32 * 128 * 2},
    {"llama-3.1-8b", 32, 32, 0, 0, 0, 128, 32 * 2 * 8 * 128 * 2},
    {"qwen2.5-7b", 28, 28, 0, 0, 0, 128, 28 * 2 * 4 * 128 * 2},
    {"qwen3-32b", 64, 64, 0, 0, 0, 128, 64 * 2 * 8 * 128 * 2},
    {"qwen3-32b-fp8-kv", 64, 64, 0, 0, 0, 128, 64 * 2 * 8 * 128 * 1},
    {"mistral-7b-v0.1", 32, 0, 32, 4096, 0, 128, 0},
    {"phi-3-mini-4k", 32, 0, 32, 2047, 0, 96, 0},
    {"phi-4", 40, 40, 0, 0, 0, 128, 40 * 2 * 10 * 128 * 2},
    {"olmo-2-7b", 32, 32, 0, 0, 0, 128, 32 * 2 * 32 * 128 * 4},
    {"olmo-3-7b", 32, 8, 24, 4096, 0, 128, 8 * 2 * 32 * 128 * 2},
    {"command-r-v01", 40, 40, 0, 0, 0, 128, 40 * 2 * 64 * 128 * 2},
    {"command-r7b", 32, 8, 24, 4096, 0, 128, 8 * 2 * 8 * 128 * 2},
    {"smollm3-3b", 36, 36, 0, 0, 0, 128, 36 * 2 * 4 * 128 * 2},
    {"falcon-7b", 32, 32, 0, 0, 0, 64, 32 * 2 * 1 * 64 * 2},
    // Experts.
    {"mixtral-8x7b", 32, 32, 0, 0, 0, 128, 32 * 2 * 8 * 128 * 2, 8, 2, 32},
    {"qwen3-30b-a3b", 48, 48, 0, 0, 0, 128, 48 * 2 * 4 * 128 * 2, 128, 8, 48},
    {"gpt-oss-20b", 24, 12, 12, 128, 0, 64, 12 * 2 * 8 * 64 * 2, 32, 4, 24},
    {"gpt-oss-120b", 36, 18, 18, 128, 0, 64, 18 * 2 * 8 * 64 * 2, 128, 4, 36},
    {"llama-4-scout", 48, 12, 36, 8192, 0, 128, 12 * 2 * 8 * 128 * 2, 16, 1, 48,
     8192},
    {"llama-4-maverick", 48, 12, 36, 8192, 0, 128, 12 * 2 * 8 * 128 * 2, 128, 1,
     24, 8192},
    {"minimax-m1", 80, 10, 0, 0, 70, 128, 10 * 2 * 8 * 128 * 2, 32, 2, 80},
    {"minimax-m2.5", 62, 62, 0, 0, 0, 128, 62 * 2 * 8 * 128 * 2, 256, 8, 62},
    {"mimo-v2-flash", 48, 9, 39, 128, 0, 192, 9 * 4 * (192 + 128) * 2, 256, 8,
     47},
    // Latent attention.
    {"deepseek-v2-lite", 27, 27, 0, 0, 0, 192, 27 * (512 + 64) * 2, 64, 6, 26,
     2 * 1408},
    {"deepseek-v3", 61, 61, 0, 0, 0, 192, 61 * (512 + 64) * 2, 256, 8, 58,
     2048},
    {"deepseek-v3.2", 61, 61, 0, 0, 0, 192, 61 * (512 + 64 + 128) * 2, 256, 8,
     58, 2048},
    {"kimi-k2", 61, 61, 0, 0, 0, 192, 61 * (512 + 64) * 2, 384, 8, 60, 2048},
    {"kimi-k2.5", 61, 61, 0, 0, 0, 192, 61 * (512 + 64) * 2, 384, 8, 60, 2048},
    {"glm-5", 78, 78, 0, 0, 0, 256, 78 * (512 + 64 + 128) * 2, 256, 8, 75,
     2048},
    {"glm-5.2", 78, 78, 0, 0, 0, 256, (78 * (512 + 64) + 21 * 128) * 2, 256, 8,
     75, 2048},
    {"kimi-linear-k3", 93, 24, 0, 0, 69, 192, 24 * (512 + 64) * 2, 896, 16, 92,
     2 * 3072},
    // Windows beside full layers.
    {"gemma-2-9b", 42, 21, 21, 4096, 0, 256, 21 * 2 * 8 * 256 * 4},
    {"gemma-3-4b", 34, 5, 29, 1024, 0, 256, 5 * 2 * 4 * 256 * 2},
    {"gemma-3-27b", 62, 10, 52, 1024, 0, 128, 10 * 2 * 16 * 128 * 2},
    {"gemma-3n-e4b", 35, 4, 16, 512, 0, 256, 4 * 2 * 2 * 256 * 2},
    {"gemma-4-26b-a4b", 30, 5, 25, 1024, 0, 512, 5 * 2 * 2 * 512 * 2, 128, 8,
     30},
    {"gemma-4-31b-nvfp4", 60, 10, 50, 1024, 0, 512, 10 * 2 * 4 * 512 * 1},
    // Hybrids.
    {"qwen3-next-80b-a3b", 48, 12, 0, 0, 36, 256, 12 * 2 * 2 * 256 * 2, 512, 10,
     48, 512},
    {"qwen3.5-27b", 64, 16, 0, 0, 48, 256, 16 * 2 * 4 * 256 * 2},
    {"qwen3.5-35b-a3b", 40, 10, 0, 0, 30, 256, 10 * 2 * 2 * 256 * 2, 256, 8, 40,
     512},
    {"jamba-1.5-mini", 32, 4, 0, 0, 28, 128, 4 * 2 * 8 * 128 * 2, 16, 2, 16},
    {"granite-4.0-h-tiny", 40, 4, 0, 0, 36, 128, 4 * 2 * 4 * 128 * 2, 64, 6, 40,
     1024},
    {"granite-4.0-h-1b", 40, 4, 0, 0, 36, 128, 4 * 2 * 4 * 128 * 2},
    {"falcon-h1-7b", 44, 44, 0, 0, 44, 128, 44 * 2 * 2 * 128 * 2},
    {"nemotron-h-56b", 118, 10, 0, 0, 54, 128, 10 * 2 * 8 * 128 * 2},
    {"nemotron-3-nano-30b-a3b", 52, 6, 0, 0, 23, 128, 6 * 2 * 2 * 128 * 2, 128,
     6, 23, 3712},
    {"nemotron-3-ultra-550b-a55b", 108, 12, 0, 0, 48, 128, 12 * 2 * 2 * 128 * 2,
     512, 22, 48, 10240},
    // Language models inside vision-language configs.
    {"qwen2.5-vl-7b", 28, 28, 0, 0, 0, 128, 28 * 2 * 4 * 128 * 2},
    {"qwen2.5-omni-7b", 28, 28, 0, 0, 0, 128, 28 * 2 * 4 * 128 * 2},
    {"qwen3-vl-30b-a3b", 48, 48, 0, 0, 0, 128, 48 * 2 * 4 * 128 * 2, 128, 8,
     48},
    {"internvl3-8b", 28, 28, 0, 0, 0, 128, 28 * 2 * 4 * 128 * 2},
    {"mistral-small-3.1-24b", 40, 40, 0, 0, 0, 128, 40 * 2 * 8 * 128 * 2},
};

std::string PathOf(const std::string& name) {
  return std::string(TIDEGATE_SOURCE_DIR "/tests/data/configs/") + name +
         ".json";
}

std::int64_t CountOf(const ModelShape& shape, MixerKind kind, bool stored) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    const Mixer& m = shape.mixers[i];
    if (m.kind == kind && (!stored || m.stores_kv)) {
      count += shape.MixerCount(static_cast<int>(i));
    }
  }
  return count;
}

const Mixer* FirstOf(const ModelShape& shape, MixerKind kind) {
  for (const Mixer& m : shape.mixers) {
    if (m.kind == kind) return &m;
  }
  return nullptr;
}

class PublishedConfigTest : public ::testing::TestWithParam<Published> {
 protected:
  void SetUp() override {
    absl::StatusOr<ModelConfig> config =
        LoadModelConfig(PathOf(GetParam().file), {});
    ASSERT_THAT(config, IsOk());
    shape_ = config->shape;
  }
  ModelShape shape_;
};

TEST_P(PublishedConfigTest, GivesTheBytesOfOneToken) {
  EXPECT_EQ(shape_.KvBytesPerToken(), GetParam().kv_bytes_per_token);
}

TEST_P(PublishedConfigTest, HasItsLayersOfEachKind) {
  const Published& p = GetParam();
  EXPECT_EQ(static_cast<std::int64_t>(shape_.layers.size()), p.layers);
  EXPECT_EQ(CountOf(shape_, MixerKind::kFull, true) +
                CountOf(shape_, MixerKind::kLatent, true),
            p.growing);
  EXPECT_EQ(CountOf(shape_, MixerKind::kSliding, true), p.sliding);
  EXPECT_EQ(CountOf(shape_, MixerKind::kLinear, false), p.linear);
}

TEST_P(PublishedConfigTest, HasItsHeadDimAndWindow) {
  const Mixer* sliding = FirstOf(shape_, MixerKind::kSliding);
  EXPECT_EQ(sliding == nullptr ? 0 : sliding->window, GetParam().window);
  const Mixer* m = FirstOf(shape_, MixerKind::kFull);
  if (m == nullptr) m = FirstOf(shape_, MixerKind::kLatent);
  if (m == nullptr) m = sliding;
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->head_dim, GetParam().head_dim);
}

TEST_P(PublishedConfigTest, HasItsExperts) {
  FeedForward moe;
  std::int64_t layers = 0;
  for (std::size_t i = 0; i < shape_.feed_forwards.size(); ++i) {
    if (shape_.feed_forwards[i].kind != FeedForwardKind::kMoe) continue;
    moe = shape_.feed_forwards[i];
    layers += shape_.FeedForwardCount(static_cast<int>(i));
  }
  EXPECT_EQ(layers, GetParam().moe_layers);
  EXPECT_EQ(moe.experts, GetParam().experts);
  EXPECT_EQ(moe.top_k, GetParam().top_k);
  EXPECT_EQ(moe.shared_intermediate, GetParam().shared);
}

INSTANTIATE_TEST_SUITE_P(All, PublishedConfigTest,
                         ::testing::ValuesIn(kPublished), [](const auto& info) {
                           std::string name = info.param.file;
                           for (char& c : name) {
                             if (c == '-' || c == '.') c = '_';
                           }
                           return name;
                         });

ModelShape Load(const std::string& name) {
  absl::StatusOr<ModelConfig> config = LoadModelConfig(PathOf(name), {});
  EXPECT_THAT(config, IsOk());
  return config.ok() ? config->shape : ModelShape{};
}

TEST(PublishedConfigsTest, Qwen3NextStatesItsDeltaNet) {
  const ModelShape shape = Load("qwen3-next-80b-a3b");
  const Mixer* m = FirstOf(shape, MixerKind::kLinear);
  ASSERT_NE(m, nullptr);
  Mixer expected;
  expected.kind = MixerKind::kLinear;
  expected.linear = LinearKind::kGatedDeltaNet;
  expected.linear_key_heads = 16;
  expected.linear_value_heads = 32;
  expected.linear_key_dim = 128;
  expected.linear_value_dim = 128;
  expected.linear_inner = 4096;
  expected.conv_dim = 2 * 2048 + 4096;
  expected.conv_kernel = 4;
  EXPECT_EQ(*m, expected);
  const Mixer* full = FirstOf(shape, MixerKind::kFull);
  EXPECT_TRUE(full->output_gate);
  EXPECT_TRUE(full->qk_norm);
}

TEST(PublishedConfigsTest, Mamba2ConvolvesInnerWidthAndStates) {
  const ModelShape granite = Load("granite-4.0-h-tiny");
  const Mixer* m = FirstOf(granite, MixerKind::kLinear);
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->linear, LinearKind::kMamba2);
  EXPECT_EQ(m->linear_inner, 48 * 64);
  EXPECT_EQ(m->conv_dim, 48 * 64 + 2 * 1 * 128);
  const ModelShape nemotron = Load("nemotron-h-56b");
  EXPECT_EQ(FirstOf(nemotron, MixerKind::kLinear)->conv_dim,
            256 * 64 + 2 * 8 * 256);
}

TEST(PublishedConfigsTest, JambaHasMamba1) {
  const ModelShape shape = Load("jamba-1.5-mini");
  const Mixer* m = FirstOf(shape, MixerKind::kLinear);
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->linear, LinearKind::kMamba1);
  EXPECT_EQ(m->linear_inner, 8192);
  EXPECT_EQ(m->linear_key_dim, 16);
  EXPECT_EQ(m->conv_dim, 8192);
}

TEST(PublishedConfigsTest, FalconH1RunsBothMixersInEachLayer) {
  const ModelShape shape = Load("falcon-h1-7b");
  for (const Layer& layer : shape.layers) {
    EXPECT_EQ(shape.mixers[layer.mixer].kind, MixerKind::kFull);
    ASSERT_GE(layer.extra_mixer, 0);
    EXPECT_EQ(shape.mixers[layer.extra_mixer].kind, MixerKind::kLinear);
  }
  // Convolution 3072 + 2*256 channels, states of 24 heads of 128 by 256.
  EXPECT_EQ(shape.SequenceBytes(1, 1),
            45056 + 44 * (3584 * 4 * 2 + 24 * 128 * 256 * 4));
}

TEST(PublishedConfigsTest, GptOssHasSinksAndBiases) {
  const ModelShape shape = Load("gpt-oss-20b");
  for (const Mixer& m : shape.mixers) {
    EXPECT_TRUE(m.sinks);
    EXPECT_TRUE(m.bias);
  }
  EXPECT_TRUE(shape.feed_forwards[0].bias);
}

TEST(PublishedConfigsTest, Gemma2CapsItsScores) {
  for (const Mixer& m : Load("gemma-2-9b").mixers) EXPECT_TRUE(m.softcap);
}

TEST(PublishedConfigsTest, Gemma4RunsADenseBlockBesideItsExperts) {
  const ModelShape shape = Load("gemma-4-26b-a4b");
  ASSERT_EQ(shape.feed_forwards.size(), 1u);
  EXPECT_EQ(shape.feed_forwards[0].intermediate, 704);
  EXPECT_EQ(shape.feed_forwards[0].parallel_intermediate, 2112);
}

TEST(PublishedConfigsTest, Llama4AlternatesDenseAndExpertLayers) {
  const ModelShape shape = Load("llama-4-maverick");
  const auto kind = [&](int i) {
    return shape.feed_forwards[shape.layers[i].feed_forward];
  };
  EXPECT_EQ(kind(0).kind, FeedForwardKind::kDense);
  EXPECT_EQ(kind(0).intermediate, 16384);
  EXPECT_EQ(kind(1).kind, FeedForwardKind::kMoe);
}

TEST(PublishedConfigsTest, NemotronsLayersAreEitherMixerOrBlock) {
  const ModelShape shape = Load("nemotron-3-nano-30b-a3b");
  for (const Layer& layer : shape.layers) {
    const bool mixes = shape.mixers[layer.mixer].kind != MixerKind::kNone;
    const bool feeds =
        shape.feed_forwards[layer.feed_forward].kind != FeedForwardKind::kNone;
    EXPECT_NE(mixes, feeds);
  }
}

TEST(PublishedConfigsTest, Qwen2ProjectsWithBiasesAndLlamaWithout) {
  EXPECT_TRUE(Load("qwen2.5-7b").mixers[0].bias);
  EXPECT_FALSE(Load("llama-3.1-8b").mixers[0].bias);
}

TEST(PublishedConfigsTest, Gemma34BTakesTheDefaultsOfItsClassAndSaysSo) {
  absl::StatusOr<ModelConfig> config =
      LoadModelConfig(PathOf("gemma-3-4b"), {});
  ASSERT_THAT(config, IsOk());
  ASSERT_EQ(config->warnings.size(), 1u);
  EXPECT_THAT(config->warnings[0],
              ::testing::HasSubstr("num_attention_heads 8"));
}

}  // namespace
}  // namespace tidegate
