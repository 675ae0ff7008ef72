// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// GGUF metadata to a shape, by way of the config.json that the file was
// converted from: families are read in one place.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tidegate/llamacpp.h"
#include "tidegate/model_config.h"
#include "tidegate/status.h"

namespace tidegate::llamacpp {
namespace {

class Metadata {
 public:
  explicit Metadata(const llama_model* model) : model_(model) {}

  std::optional<std::string> Text(const std::string& key) const {
    char text[256];
    const int length =
        llama_model_meta_val_str(model_, key.c_str(), text, sizeof(text));
    if (length < 0) return std::nullopt;
    return std::string(text);
  }

  // Of the model's architecture. nullopt: absent, or no single number.
  std::optional<std::int64_t> Number(const std::string& key) const {
    const auto text = Text(absl::StrCat(arch_, ".", key));
    std::int64_t number = 0;
    if (!text.has_value() || !absl::SimpleAtoi(*text, &number)) {
      return std::nullopt;
    }
    return number;
  }

  absl::StatusOr<std::int64_t> Required(const std::string& key) const {
    const auto number = Number(key);
    if (number.has_value() && *number > 0) return *number;
    return absl::InvalidArgumentError(
        absl::StrCat("model: expected the GGUF key ", arch_, ".", key,
                     " as one number above 0; where widths differ by layer, "
                     "read the shape from the model's config.json"));
  }

  void set_arch(std::string arch) { arch_ = std::move(arch); }

 private:
  const llama_model* model_;
  std::string arch_;
};

std::string ModelType(const std::string& arch, std::int64_t experts) {
  static const auto* const kTypes =
      new std::map<std::string, std::string>{{"gemma3", "gemma3_text"},
                                             {"qwen3moe", "qwen3_moe"},
                                             {"qwen2moe", "qwen2_moe"},
                                             {"gpt-oss", "gpt_oss"},
                                             {"starcoder2", "starcoder2"}};
  if (arch == "llama" && experts > 0) return "mixtral";
  const auto found = kTypes->find(arch);
  return found == kTypes->end() ? arch : found->second;
}

}  // namespace

absl::StatusOr<ModelShape> ShapeOf(const llama_model* model) {
  if (model == nullptr) return absl::InvalidArgumentError("model: is null");
  Metadata metadata(model);
  const std::string arch =
      metadata.Text("general.architecture").value_or("unknown");
  metadata.set_arch(arch);
  TG_ASSIGN_OR_RETURN(const auto layers, metadata.Required("block_count"));
  TG_ASSIGN_OR_RETURN(const auto hidden, metadata.Required("embedding_length"));
  TG_ASSIGN_OR_RETURN(const auto heads,
                      metadata.Required("attention.head_count"));
  const std::int64_t kv_heads =
      metadata.Number("attention.head_count_kv").value_or(heads);
  const std::int64_t head_dim =
      metadata.Number("attention.key_length").value_or(hidden / heads);
  const std::int64_t experts = metadata.Number("expert_count").value_or(0);
  const std::string type = ModelType(arch, experts);

  std::string json = absl::StrCat(
      R"({"model_type": ")", type, R"(", "num_hidden_layers": )", layers,
      R"(, "hidden_size": )", hidden, R"(, "num_attention_heads": )", heads,
      R"(, "num_key_value_heads": )", kv_heads, R"(, "head_dim": )", head_dim,
      R"(, "torch_dtype": "bfloat16", "vocab_size": )",
      llama_vocab_n_tokens(llama_model_get_vocab(model)),
      R"(, "max_position_embeddings": )", llama_model_n_ctx_train(model));
  const std::optional<std::int64_t> expert_width =
      metadata.Number("expert_feed_forward_length");
  if (const auto width = metadata.Number("feed_forward_length")) {
    absl::StrAppend(&json, R"(, "intermediate_size": )", *width);
  } else if (expert_width.has_value()) {
    absl::StrAppend(&json, R"(, "intermediate_size": )", *expert_width);
  } else {
    TG_RETURN_IF_ERROR(metadata.Required("feed_forward_length").status());
  }
  if (experts > 0) {
    TG_ASSIGN_OR_RETURN(const auto used,
                        metadata.Required("expert_used_count"));
    absl::StrAppend(&json,
                    type == "mixtral" ? R"(, "num_local_experts": )"
                                      : R"(, "num_experts": )",
                    experts, R"(, "num_experts_per_tok": )", used);
    if (expert_width.has_value()) {
      absl::StrAppend(&json, R"(, "moe_intermediate_size": )", *expert_width);
    }
  }
  if (const auto window = metadata.Number("attention.sliding_window");
      window.value_or(0) > 0) {
    absl::StrAppend(&json, R"(, "sliding_window": )", *window);
  }
  absl::StrAppend(&json, "}");
  TG_ASSIGN_OR_RETURN(
      ModelConfig config,
      ParseModelConfig(json, absl::StrCat("GGUF metadata of ", arch), {}));
  config.shape.weight_bytes = static_cast<Bytes>(llama_model_size(model));
  return std::move(config.shape);
}

}  // namespace tidegate::llamacpp
