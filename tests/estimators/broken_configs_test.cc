// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a user reads when a config cannot be used: one line that names the key.

#include <string>

#include "tests/testing/matchers.h"
#include "tidegate/model_config.h"

namespace tidegate {
namespace {

using testing::IsOk;
using testing::StatusIs;

struct Broken {
  std::string name;
  std::string json;
  std::string message;  // after "config.json: "
};

// A good config with one member replaced, or left out where `value` is empty.
std::string With(const std::string& key, const std::string& value) {
  const std::pair<const char*, const char*> members[] = {
      {"model_type", "\"qwen3\""},   {"hidden_size", "1024"},
      {"intermediate_size", "4096"}, {"num_attention_heads", "8"},
      {"num_key_value_heads", "2"},  {"num_hidden_layers", "2"},
      {"vocab_size", "32000"},       {"torch_dtype", "\"bfloat16\""}};
  std::string json;
  bool replaced = false;
  const auto add = [&](const std::string& k, const std::string& v) {
    json += (json.empty() ? "{\"" : ", \"") + k + "\": " + v;
  };
  for (const auto& [k, v] : members) {
    if (k != key) {
      add(k, v);
    } else {
      replaced = true;
      if (!value.empty()) add(key, value);
    }
  }
  if (!replaced) add(key, value);
  return json + "}";
}

std::string Nested(int levels) {
  std::string json = "{\"a\": ";
  for (int i = 0; i < levels; ++i) json += "[";
  for (int i = 0; i < levels; ++i) json += "]";
  return json + "}";
}

std::vector<Broken> AllBroken() {
  const std::string width = "expected an integer from 1 to 16777216, got ";
  std::vector<Broken> all = {
      {"Empty", "", "line 1, column 1: expected JSON, got the end of the text"},
      {"NotJson", "hidden_size = 4096",
       "line 1, column 1: expected JSON, got 'h'"},
      {"CutShort", "{\n  \"hidden_size\": 40",
       "line 2, column 20: expected JSON, got the end of the text"},
      {"TrailingComma", "{\"a\": 1,}",
       "line 1, column 9: expected JSON, got '1,}'"},
      {"TopLevelArray", "[1, 2]",
       "key (top level): expected an object, got an array"},
      {"TopLevelString", "\"config\"",
       "key (top level): expected an object, got \"config\""},
      {"DuplicateKey", "{\"hidden_size\": 1, \"hidden_size\": 2}",
       "key hidden_size: expected it once, got it twice"},
      {"DuplicateNestedKey", "{\"text_config\": {\"a\": 1, \"a\": 1}}",
       "key text_config.a: expected it once, got it twice"},
      {"TooDeep", Nested(100), "key a: expected at most 64 levels, got more"},
      {"NumberOutOfRange", "{\"hidden_size\": 1e999}",
       "line 1, column 21: expected JSON, got a number out of range"},
      {"MissingLayers", With("num_hidden_layers", ""),
       "key num_hidden_layers: expected an integer from 1 to 10000, got "
       "nothing"},
      {"MissingHidden", With("hidden_size", ""),
       "key hidden_size: " + width + "nothing"},
      {"MissingHeads", With("num_attention_heads", ""),
       "key num_attention_heads: " + width + "nothing"},
      {"MissingKeyHeads", With("num_key_value_heads", ""),
       "key num_key_value_heads: expected an integer from 1 to 8, got nothing"},
      {"MissingWidth", With("intermediate_size", ""),
       "key intermediate_size: " + width + "nothing"},
      {"MissingVocab", With("vocab_size", ""),
       "key vocab_size: " + width + "nothing"},
      {"NullHidden", With("hidden_size", "null"),
       "key hidden_size: " + width + "nothing"},
      {"NegativeHidden", With("hidden_size", "-4096"),
       "key hidden_size: " + width + "-4096"},
      {"ZeroHeads", With("num_attention_heads", "0"),
       "key num_attention_heads: " + width + "0"},
      {"TextHidden", With("hidden_size", "\"4096\""),
       "key hidden_size: " + width + "\"4096\""},
      {"FractionHidden", With("hidden_size", "4096.5"),
       "key hidden_size: " + width + "4096.5"},
      {"HugeHidden", With("hidden_size", "1e30"),
       "key hidden_size: " + width + "1e30"},
      {"HugeInteger", With("hidden_size", "99999999999999999999"),
       "key hidden_size: " + width + "99999999999999999999"},
      {"NanHidden", With("hidden_size", "NaN"),
       "key hidden_size: " + width + "\"NaN\""},
      {"BooleanHidden", With("hidden_size", "true"),
       "key hidden_size: " + width + "true"},
      {"ObjectHidden", With("hidden_size", "{}"),
       "key hidden_size: " + width + "an object"},
      {"TooManyLayers", With("num_hidden_layers", "1000000000"),
       "key num_hidden_layers: expected an integer from 1 to 10000, got "
       "1000000000"},
      {"KeyHeadsDoNotDivide", With("num_key_value_heads", "3"),
       "key num_key_value_heads: expected a divisor of the 8 attention heads, "
       "got 3"},
      {"MoreKeyHeadsThanHeads", With("num_key_value_heads", "16"),
       "key num_key_value_heads: expected an integer from 1 to 8, got 16"},
      {"HeadsDoNotDivideHidden", With("hidden_size", "1001"),
       "key head_dim: expected it stated where hidden_size 1001 is no multiple "
       "of num_attention_heads 8, got nothing"},
      {"UnknownDtype", With("torch_dtype", "\"float128\""),
       "key torch_dtype: expected float32, float16 or bfloat16, got "
       "\"float128\""},
      {"DtypeIsANumber", With("torch_dtype", "16"),
       "key torch_dtype: expected a string, got 16"},
      {"ModelTypeIsANumber", With("model_type", "3"),
       "key model_type: expected a string, got 3"},
      {"VisionTower", With("model_type", "\"siglip_vision_model\""),
       "key model_type: expected a language model, got "
       "\"siglip_vision_model\""},
      {"EncoderDecoder", With("is_encoder_decoder", "true"),
       "key is_encoder_decoder: expected false, as for a decoder, got true"},
      {"OnlyAVisionConfig",
       R"({"model_type": "llava", "vision_config": {"num_hidden_layers": 24,
           "hidden_size": 1024, "num_attention_heads": 16}})",
       "key num_hidden_layers: expected an integer from 1 to 10000, got "
       "nothing"},
      {"NestedKeyIsNamedWhole",
       R"({"model_type": "llava", "num_hidden_layers": 33,
           "text_config": {"model_type": "llama", "hidden_size": 64}})",
       "key text_config.num_hidden_layers: expected an integer from 1 to "
       "10000, got nothing"},
      {"TooFewLayerTypes", With("layer_types", "[\"full_attention\"]"),
       "key layer_types: expected 2 entries, one a layer, got 1"},
      {"UnknownLayerType",
       With("layer_types", "[\"full_attention\", \"retention\"]"),
       "key layer_types[1]: expected full_attention, sliding_attention, "
       "chunked_attention, linear_attention, attention, mamba or hybrid, got "
       "\"retention\""},
      {"LayerTypeIsANumber", With("layer_types", "[\"full_attention\", 1]"),
       "key layer_types[1]: expected a string, got 1"},
      {"SlidingWithoutAWindow",
       With("layer_types", "[\"full_attention\", \"sliding_attention\"]"),
       "key sliding_window: expected an integer from 1 to 100000000, got "
       "nothing"},
      {"NegativeWindow",
       R"({"model_type": "mistral", "hidden_size": 64, "intermediate_size": 64,
           "num_attention_heads": 2, "num_key_value_heads": 2,
           "num_hidden_layers": 2, "vocab_size": 9, "sliding_window": -1})",
       "key sliding_window: expected an integer from 1 to 100000000, got -1"},
      {"AllLayersShareTheCache", With("num_kv_shared_layers", "2"),
       "key num_kv_shared_layers: expected an integer from 0 to 1, got 2"},
      {"MoreExpertsPerTokenThanExperts",
       R"({"model_type": "mixtral", "hidden_size": 64, "intermediate_size": 64,
           "num_attention_heads": 2, "num_key_value_heads": 2,
           "num_hidden_layers": 2, "vocab_size": 9, "num_local_experts": 4,
           "num_experts_per_tok": 5})",
       "key num_experts_per_tok: expected an integer from 1 to 4, got 5"},
      {"LatentWithoutRope", With("kv_lora_rank", "512"),
       "key qk_rope_head_dim: expected an integer from 0 to 16777216, got "
       "nothing"},
      {"CompressedCache", With("compress_ratios", "[0, 4]"),
       "key compress_ratios: expected a cache that is not compressed, got an "
       "array"},
      {"NemotronPattern",
       R"({"model_type": "nemotron_h", "hidden_size": 64,
           "num_hidden_layers": 3, "hybrid_override_pattern": "M*X"})",
       "key hybrid_override_pattern: expected only M, *, - and E, got "
       "\"M*X\""},
      {"NemotronPatternLength",
       R"({"model_type": "nemotron_h", "hidden_size": 64,
           "num_hidden_layers": 3, "hybrid_override_pattern": "M*"})",
       "key hybrid_override_pattern: expected 3 entries, one a layer, got 2"},
      {"UnknownCacheType", With("kv_cache_dtype", "\"fp5\""),
       "key kv_cache_dtype: expected a type such as fp8, int8 or auto, got "
       "\"fp5\""},
      {"CacheSchemeWithoutBits",
       With("quantization_config", "{\"kv_cache_scheme\": {}}"),
       "key quantization_config.kv_cache_scheme.num_bits: expected an integer "
       "from 1 to 32, got nothing"},
      {"LongTextIsCut",
       With("hidden_size",
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""),
       "key hidden_size: " + width +
           "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\""},
      {"LineBreaksInAListAreBlanks",
       With("mlp_layer_types", "[\"dense\", \"a\\nb\"], \"num_experts\": 4"),
       "key mlp_layer_types[1]: expected \"dense\" or \"sparse\", got \"a "
       "b\""},
      {"LineBreaksAreBlanks", With("hidden_size", "\"a\\nb\""),
       "key hidden_size: " + width + "\"a b\""},
  };
  return all;
}

class BrokenConfigTest : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenConfigTest, IsRefusedInOneLineThatNamesTheKey) {
  const absl::StatusOr<ModelConfig> config =
      ParseModelConfig(GetParam().json, "config.json", {});
  EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument,
                               "config.json: " + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, BrokenConfigTest,
                         ::testing::ValuesIn(AllBroken()),
                         [](const auto& info) { return info.param.name; });

std::string Shape(const std::string& more) {
  return R"({"q_heads": 8, "head_dim": 64, "layers": 4)" +
         (more.empty() ? "" : ", " + more) + "}";
}

class BrokenShapeTextTest : public ::testing::TestWithParam<Broken> {};

TEST_P(BrokenShapeTextTest, IsRefusedInOneLineThatNamesTheKey) {
  const absl::StatusOr<ModelConfig> config =
      ParseInlineShape(GetParam().json, "policy.toml");
  EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument,
                               "policy.toml: " + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenShapeTextTest,
    ::testing::ValuesIn(std::vector<Broken>{
        {"MissingKeyHeads", Shape(""),
         "key kv_heads: expected an integer from 1 to 8, got nothing"},
        {"Typo", Shape(R"("kv_head": 8)"),
         "key kv_head: expected a key of a shape, got an unknown one; did you "
         "mean kv_heads?"},
        {"Stranger", Shape(R"("temperature": 1)"),
         "key temperature: expected a key of a shape, got an unknown one"},
        {"KeyHeadsDoNotDivide", Shape(R"("kv_heads": 3)"),
         "key kv_heads: expected a divisor of the 8 q_heads, got 3"},
        {"MoreKvLayersThanLayers", Shape(R"("kv_heads": 8, "kv_layers": 5)"),
         "key kv_layers: expected an integer from 0 to 4, got 5"},
        {"UnknownComputeType",
         Shape(R"("kv_heads": 8, "compute_dtype": "int8")"),
         "key compute_dtype: expected fp32, fp16 or bf16, got \"int8\""},
        {"ZeroKvType", Shape(R"("kv_heads": 8, "kv_dtype": 0)"),
         "key kv_dtype: expected fp32, fp16, bf16, fp8, int8, int4, q8_0 or a "
         "number of bytes from 0.125 to 8, got 0"},
        {"KvTypeIsAList", Shape(R"("kv_heads": 8, "kv_dtype": [])"),
         "key kv_dtype: expected fp32, fp16, bf16, fp8, int8, int4, q8_0 or a "
         "number of bytes from 0.125 to 8, got an array"},
    }),
    [](const auto& info) { return info.param.name; });

// Bytes no text editor writes must be refused like any other, not crash.
TEST(BrokenConfigBytesTest, NoPrefixOfAConfigParsesOrCrashes) {
  const std::string json = With("layer_types", "[\"full_attention\", \"x\"]");
  for (std::size_t n = 0; n + 1 < json.size(); ++n) {
    EXPECT_THAT(ParseModelConfig(json.substr(0, n), "c", {}),
                ::testing::Not(IsOk()))
        << n;
  }
}

TEST(BrokenConfigBytesTest, AnyByteInAnyPlaceIsAnAnswer) {
  const std::string json = With("hidden_size", "1024");
  for (std::size_t i = 0; i < json.size(); ++i) {
    for (char c : {'\0', '\x01', '"', '\\', '{', '[', '-', '\xff', 'N'}) {
      std::string broken = json;
      broken[i] = c;
      const absl::StatusOr<ModelConfig> config =
          ParseModelConfig(broken, "c", {});
      if (config.ok()) continue;
      EXPECT_EQ(std::string(config.status().message()).find('\n'),
                std::string::npos);
    }
  }
}

}  // namespace
}  // namespace tidegate
