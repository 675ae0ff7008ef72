// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/model_config.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/testing/matchers.h"

namespace tidegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::StatusIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// A dense decoder of 4 layers; `more` adds members, later ones may not repeat.
std::string Dense(const std::string& type, const std::string& more) {
  return R"({"model_type": ")" + type +
         R"(", "hidden_size": 1024, "intermediate_size": 4096,
             "num_attention_heads": 8, "num_key_value_heads": 2,
             "num_hidden_layers": 4, "vocab_size": 32000,
             "torch_dtype": "bfloat16")" +
         (more.empty() ? "" : ", " + more) + "}";
}

constexpr Bytes kDenseToken = 4 * 2 * 2 * 128 * 2;

ModelConfig Parse(const std::string& json,
                  const ModelOverrides& overrides = {}) {
  absl::StatusOr<ModelConfig> config =
      ParseModelConfig(json, "config.json", overrides);
  EXPECT_THAT(config, IsOk());
  return config.ok() ? *std::move(config) : ModelConfig{};
}

std::int64_t Sliding(const ModelShape& shape) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < shape.mixers.size(); ++i) {
    if (shape.mixers[i].kind == MixerKind::kSliding) {
      count += shape.MixerCount(static_cast<int>(i));
    }
  }
  return count;
}

TEST(ModelConfigTest, AKnownDecoderParsesWithoutWarnings) {
  const ModelConfig config = Parse(Dense("llama", ""));
  EXPECT_THAT(config.warnings, IsEmpty());
  EXPECT_EQ(config.shape.model_type, "llama");
  EXPECT_EQ(config.shape.hidden, 1024);
  EXPECT_EQ(config.shape.vocab, 32000);
  EXPECT_EQ(config.shape.KvBytesPerToken(), kDenseToken);
}

TEST(ModelConfigTest, AnUnknownTypeWithTheUsualKeysHasOneWarning) {
  const ModelConfig config = Parse(Dense("novel", ""));
  EXPECT_THAT(config.warnings,
              ElementsAre("config.json: model_type \"novel\" is not known: "
                          "read by the usual keys of a decoder"));
  EXPECT_EQ(config.shape.KvBytesPerToken(), kDenseToken);
}

TEST(ModelConfigTest, AStatedHeadDimIsNotHiddenOverHeads) {
  const ModelShape shape = Parse(Dense("qwen3", R"("head_dim": 256)")).shape;
  EXPECT_EQ(shape.mixers[0].head_dim, 256);
  EXPECT_EQ(shape.KvBytesPerToken(), 2 * kDenseToken);
}

TEST(ModelConfigTest, NoKeyHeadsMeanAllHeadsWhereTheFamilySaysSo) {
  const ModelShape shape = Parse(R"({"model_type": "llama", "hidden_size": 1024,
                "intermediate_size": 4096, "num_attention_heads": 8,
                "num_hidden_layers": 1, "vocab_size": 9, "dtype": "float16"})")
                               .shape;
  EXPECT_EQ(shape.mixers[0].kv_heads, 8);
  EXPECT_EQ(shape.compute, ComputeType::kFp16);
}

TEST(ModelConfigTest, AWholeNumberWrittenWithAFractionIsAnInteger) {
  EXPECT_EQ(
      Parse(Dense("llama", R"("head_dim": 64.0)")).shape.mixers[0].head_dim,
      64);
}

TEST(ModelConfigTest, PythonsInfinityIsSkippedWhereItIsNotRead) {
  EXPECT_THAT(
      ParseModelConfig(
          Dense("llama", R"("time_step_limit": [0.0, Infinity, -Infinity],
                                    "x": NaN, "y": "NaN \" Infinity")"),
          "config.json", {}),
      IsOk());
}

TEST(ModelConfigTest, ANullTypeIsReadAsBf16WithAWarning) {
  const ModelConfig config =
      Parse(R"({"model_type": "llama", "hidden_size": 1024,
                "intermediate_size": 4096, "num_attention_heads": 8,
                "num_hidden_layers": 1, "vocab_size": 9, "dtype": null})");
  EXPECT_EQ(config.shape.compute, ComputeType::kBf16);
  EXPECT_THAT(config.warnings,
              ElementsAre("config.json: key dtype is not stated: bfloat16 is "
                          "assumed"));
}

TEST(ModelConfigTest, AnOverrideOfTheTypeWarnsOfNothing) {
  ModelOverrides overrides;
  overrides.compute = ComputeType::kFp32;
  const ModelConfig config = Parse(Dense("llama", ""), overrides);
  EXPECT_EQ(config.shape.compute, ComputeType::kFp32);
  EXPECT_EQ(config.shape.KvBytesPerToken(), 2 * kDenseToken);
  EXPECT_THAT(config.warnings, IsEmpty());
}

TEST(ModelConfigTest, AnOverrideOfTheKvWidthLeavesTheArithmetic) {
  ModelOverrides overrides;
  overrides.kv_element = ElementSize::OfBytes(1);
  const ModelShape shape = Parse(Dense("llama", ""), overrides).shape;
  EXPECT_EQ(shape.compute, ComputeType::kBf16);
  EXPECT_EQ(shape.KvBytesPerToken(), kDenseToken / 2);
}

TEST(ModelConfigTest, AnOverrideOfTheLayersRepeatsThem) {
  ModelOverrides overrides;
  overrides.layers = 40;
  EXPECT_EQ(Parse(Dense("llama", ""), overrides).shape.KvBytesPerToken(),
            10 * kDenseToken);
}

TEST(ModelConfigTest, AnOverrideToNoLayersIsRefused) {
  ModelOverrides overrides;
  overrides.layers = 0;
  EXPECT_THAT(ParseModelConfig(Dense("llama", ""), "c.json", overrides),
              StatusIs(kInvalid,
                       "c.json: layers: expected from 1 to 10000 layers, "
                       "got 0"));
}

TEST(ModelConfigTest, QuantisedWeightsChangeNoWidth) {
  const ModelConfig config =
      Parse(Dense("llama", R"("quantization": {"group_size": 64, "bits": 4},
                  "quantization_config": {"quant_method": "fp8", "bits": 8})"));
  EXPECT_EQ(config.shape.compute, ComputeType::kBf16);
  EXPECT_EQ(config.shape.KvBytesPerToken(), kDenseToken);
}

TEST(ModelConfigTest, AQuantisedCacheSchemeIsTheKvWidth) {
  for (const char* scheme :
       {R"("quantization_config": {"kv_cache_scheme": {"num_bits": 8}})",
        R"("quantization_config": {"kv_cache_scheme": "FP8"})",
        R"("quantization_config": {"kv_cache_quant_algo": "FP8"})",
        R"("kv_cache_dtype": "fp8_e4m3")"}) {
    EXPECT_EQ(Parse(Dense("llama", scheme)).shape.KvBytesPerToken(),
              kDenseToken / 2)
        << scheme;
  }
}

TEST(ModelConfigTest, ACacheSchemeThatIsAutoOrNullChangesNothing) {
  for (const char* scheme :
       {R"("quantization_config": {"kv_cache_scheme": null})",
        R"("quantization_config": null)", R"("kv_cache_dtype": "auto")"}) {
    EXPECT_EQ(Parse(Dense("llama", scheme)).shape.KvBytesPerToken(),
              kDenseToken)
        << scheme;
  }
}

TEST(ModelConfigTest, AQwenWindowCountsOnlyWhenItIsUsed) {
  const std::string window = R"("sliding_window": 512, "max_window_layers": 1)";
  EXPECT_EQ(Sliding(Parse(Dense("qwen2", window)).shape), 0);
  EXPECT_EQ(
      Sliding(Parse(Dense("qwen2", window + R"(, "use_sliding_window": false)"))
                  .shape),
      0);
  EXPECT_EQ(
      Sliding(Parse(Dense("qwen2", window + R"(, "use_sliding_window": true)"))
                  .shape),
      3);
}

TEST(ModelConfigTest, AMistralWindowIsOnEveryLayer) {
  EXPECT_EQ(Sliding(Parse(Dense("mistral", R"("sliding_window": 512)")).shape),
            4);
  EXPECT_EQ(Sliding(Parse(Dense("mistral", R"("sliding_window": null)")).shape),
            0);
}

TEST(ModelConfigTest, AWindowNoPromptCanFillIsFullAttention) {
  const ModelShape shape = Parse(Dense("phi3", R"("sliding_window": 262144,
                             "max_position_embeddings": 131072)"))
                               .shape;
  EXPECT_EQ(Sliding(shape), 0);
  EXPECT_EQ(shape.KvBytesPerToken(), kDenseToken);
  EXPECT_EQ(shape.max_position, 131072);
}

TEST(ModelConfigTest, AListOfLayerTypesWinsOverThePattern) {
  const ModelShape shape = Parse(Dense("gemma3", R"("head_dim": 128,
      "sliding_window": 64, "sliding_window_pattern": 2,
      "layer_types": ["full_attention", "full_attention",
                      "sliding_attention", "full_attention"])"))
                               .shape;
  EXPECT_EQ(Sliding(shape), 1);
  EXPECT_EQ(shape.mixers[shape.layers[2].mixer].kind, MixerKind::kSliding);
}

TEST(ModelConfigTest, EveryPatternthLayerIsFull) {
  const ModelShape shape = Parse(Dense("cohere2", R"("sliding_window": 64,
      "sliding_window_pattern": 2)"))
                               .shape;
  EXPECT_EQ(Sliding(shape), 2);
  EXPECT_EQ(shape.mixers[shape.layers[1].mixer].kind, MixerKind::kFull);
}

TEST(ModelConfigTest, FullAttentionIntervalServesWhereNoListIsStated) {
  const ModelShape shape = Parse(Dense("qwen3_5", R"("head_dim": 128,
      "full_attention_interval": 2, "linear_num_key_heads": 2,
      "linear_num_value_heads": 4, "linear_key_head_dim": 64,
      "linear_value_head_dim": 64)"))
                               .shape;
  EXPECT_EQ(shape.KvBytesPerToken(), kDenseToken / 2);
}

TEST(ModelConfigTest, TheLastLayersShareTheCacheOfEarlierOnes) {
  const ModelShape shape =
      Parse(Dense("gemma3n", R"("head_dim": 128, "num_kv_shared_layers": 3)"))
          .shape;
  EXPECT_EQ(shape.KvBytesPerToken(), kDenseToken / 4);
}

TEST(ModelConfigTest, Gemma4SharedLayersMayHaveADoubleWideBlock) {
  const ModelShape shape = Parse(Dense("gemma4", R"("num_kv_shared_layers": 1,
                               "use_double_wide_mlp": true)"))
                               .shape;
  EXPECT_EQ(shape.feed_forwards[shape.layers[0].feed_forward].intermediate,
            4096);
  EXPECT_EQ(shape.feed_forwards[shape.layers[3].feed_forward].intermediate,
            8192);
}

TEST(ModelConfigTest, AnIndexIsStoredOnTheLayersThatChoose) {
  const std::string latent = R"("kv_lora_rank": 512, "qk_rope_head_dim": 64,
      "qk_nope_head_dim": 128, "v_head_dim": 128, "index_head_dim": 128,
      "index_n_heads": 32, "index_topk": 2048)";
  EXPECT_EQ(Parse(Dense("deepseek_v32", latent)).shape.KvBytesPerToken(),
            4 * (576 + 128) * 2);
  EXPECT_EQ(Parse(Dense("glm_moe_dsa", latent + R"(, "indexer_types":
                            ["full", "shared", "shared", "full"])"))
                .shape.KvBytesPerToken(),
            (4 * 576 + 2 * 128) * 2);
}

TEST(ModelConfigTest, TheShortFormOfIndexerTypesIsItsList) {
  // GLM-5.2: the first three layers, then every fourth.
  const ModelShape shape = Parse(Dense("glm_moe_dsa", R"("kv_lora_rank": 512,
          "qk_rope_head_dim": 64, "qk_nope_head_dim": 192, "v_head_dim": 256,
          "index_head_dim": 128, "index_n_heads": 32, "index_topk": 2048,
          "index_topk_freq": 4, "index_skip_topk_offset": 3)"))
                               .shape;
  EXPECT_EQ(shape.KvBytesPerToken(), (4 * 576 + 3 * 128) * 2);
}

TEST(ModelConfigTest, ExpertsStartAfterTheFirstDenseLayers) {
  const ModelShape shape = Parse(Dense("deepseek_v3", R"(
      "n_routed_experts": 8, "num_experts_per_tok": 2,
      "moe_intermediate_size": 512, "n_shared_experts": 2,
      "first_k_dense_replace": 3)"))
                               .shape;
  ASSERT_EQ(shape.feed_forwards.size(), 2u);
  EXPECT_EQ(shape.FeedForwardCount(0), 3);
  EXPECT_EQ(shape.feed_forwards[1].shared_intermediate, 1024);
}

TEST(ModelConfigTest, SparseStepAndDenseOnlyLayersAreSubtracted) {
  const ModelShape shape = Parse(Dense("qwen3_moe", R"(
      "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512,
      "decoder_sparse_step": 2, "mlp_only_layers": [3])"))
                               .shape;
  EXPECT_EQ(shape.feed_forwards[shape.layers[1].feed_forward].kind,
            FeedForwardKind::kMoe);
  EXPECT_EQ(shape.FeedForwardCount(0), 3);
}

TEST(ModelConfigTest, MultiQueryFalconHasOneKeyHead) {
  const std::string base = R"({"model_type": "falcon", "hidden_size": 1024,
      "num_attention_heads": 16, "num_hidden_layers": 1, "vocab_size": 9,
      "torch_dtype": "bfloat16", )";
  EXPECT_EQ(Parse(base + R"("multi_query": true})").shape.mixers[0].kv_heads,
            1);
  EXPECT_EQ(Parse(base + R"("multi_query": false})").shape.mixers[0].kv_heads,
            16);
  EXPECT_EQ(Parse(base + R"("new_decoder_architecture": true,
                            "num_kv_heads": 4})")
                .shape.mixers[0]
                .kv_heads,
            4);
}

TEST(ModelConfigTest, ANestedLanguageModelWinsOverTheTopLevel) {
  const ModelShape shape =
      Parse(R"({"model_type": "llava", "num_hidden_layers": 33,
                "hidden_size": 1280, "num_attention_heads": 20,
                "torch_dtype": "bfloat16",
                "vision_config": {"num_hidden_layers": 33, "hidden_size": 1280},
                "text_config": )" +
            Dense("mistral", "") + "}")
          .shape;
  EXPECT_EQ(shape.layers.size(), 4u);
  EXPECT_EQ(shape.hidden, 1024);
  EXPECT_EQ(shape.model_type, "mistral");
}

TEST(ModelConfigTest, EveryNameOfANestedLanguageModelIsFollowed) {
  for (const char* key : {"text_config", "language_config", "llm_config"}) {
    const std::string json = std::string(R"({"model_type": "any", ")") + key +
                             R"(": )" + Dense("qwen2", "") + "}";
    EXPECT_EQ(Parse(json).shape.model_type, "qwen2") << key;
  }
}

TEST(ModelConfigTest, ALanguageModelNestedTwoDeepIsFound) {
  const std::string json =
      R"({"model_type": "outer", "num_hidden_layers": 99, "language_config": {
          "model_type": "wrapper", "num_hidden_layers": 77, "text_config": )" +
      Dense("llama", "") + "}}";
  EXPECT_EQ(Parse(json).shape.layers.size(), 4u);
}

TEST(ModelConfigTest, AWrapperStatesTheTypeAndVocabularyForTheModelInside) {
  const ModelShape shape =
      Parse(R"({"model_type": "vlm", "dtype": "float16", "vocab_size": 77,
                "text_config": {"model_type": "llama", "hidden_size": 1024,
                "intermediate_size": 4096, "num_attention_heads": 8,
                "num_hidden_layers": 1}})")
          .shape;
  EXPECT_EQ(shape.compute, ComputeType::kFp16);
  EXPECT_EQ(shape.vocab, 77);
}

TEST(ModelConfigTest, ANullNestedConfigIsNoNestedConfig) {
  EXPECT_EQ(Parse(Dense("llama", R"("text_config": null)")).shape.layers.size(),
            4u);
}

TEST(ModelConfigTest, AStateTypeInTheConfigIsItsWidth) {
  const std::string linear = R"("head_dim": 128, "linear_num_key_heads": 2,
      "linear_num_value_heads": 4, "linear_key_head_dim": 64,
      "linear_value_head_dim": 64, "mamba_ssm_dtype": )";
  EXPECT_EQ(Parse(Dense("qwen3_5", linear + R"("float32")"))
                .shape.mixers[0]
                .state_element_bytes,
            4);
  EXPECT_EQ(Parse(Dense("qwen3_5", linear + R"("bfloat16")"))
                .shape.mixers[0]
                .state_element_bytes,
            2);
}

// Loading from disk.

class ModelConfigFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::path(::testing::TempDir()) /
           ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(dir_);
    Write("config.json", Dense("llama", ""));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
  }
  std::string Path() const { return (dir_ / "config.json").string(); }

  std::filesystem::path dir_;
};

TEST_F(ModelConfigFileTest, TheIndexBesideItStatesTheWeights) {
  Write("model.safetensors.index.json",
        R"({"metadata": {"total_size": 16060522496}, "weight_map": {}})");
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(Path(), {}));
  EXPECT_EQ(config.shape.weight_bytes, 16060522496);
  EXPECT_THAT(config.warnings, IsEmpty());
}

TEST_F(ModelConfigFileTest, WithoutAnIndexTheWeightsAreUnknown) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(Path(), {}));
  EXPECT_FALSE(config.shape.weight_bytes.has_value());
  EXPECT_THAT(config.warnings, IsEmpty());
}

TEST_F(ModelConfigFileTest, ABrokenIndexIsAWarning) {
  Write("model.safetensors.index.json", R"({"metadata": {"total_size": -1}})");
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, LoadModelConfig(Path(), {}));
  EXPECT_FALSE(config.shape.weight_bytes.has_value());
  ASSERT_EQ(config.warnings.size(), 1u);
  EXPECT_THAT(config.warnings[0],
              HasSubstr("key metadata.total_size: expected an integer from 1 "
                        "to 1125899906842624, got -1; the weights' size is "
                        "unknown"));
}

TEST_F(ModelConfigFileTest, AnotherCountOfLayersHasOtherWeights) {
  Write("model.safetensors.index.json",
        R"({"metadata": {"total_size": 16060522496}})");
  ModelOverrides overrides;
  overrides.layers = 2;
  ASSERT_OK_AND_ASSIGN(const ModelConfig config,
                       LoadModelConfig(Path(), overrides));
  EXPECT_FALSE(config.shape.weight_bytes.has_value());
}

TEST_F(ModelConfigFileTest, NoFileIsNotFound) {
  const std::string path = (dir_ / "absent.json").string();
  EXPECT_THAT(LoadModelConfig(path, {}),
              StatusIs(absl::StatusCode::kNotFound, path + ": no such file"));
}

TEST_F(ModelConfigFileTest, AFolderIsNoConfig) {
  EXPECT_THAT(LoadModelConfig(dir_.string(), {}),
              StatusIs(kInvalid, HasSubstr("expected a file")));
}

}  // namespace
}  // namespace tidegate
