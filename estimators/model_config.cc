// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// From a whole config.json to a shape: which object is the language model,
// which widths apply, and the layers (model_layers.h).

#include "tidegate/model_config.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "estimators/json_reader.h"
#include "estimators/model_families.h"
#include "estimators/model_layers.h"
#include "estimators/text.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::FindFamily;
using internal::InvalidArgument;
using internal::JsonValue;
using internal::kMaxLayers;
using internal::kMaxWidth;
using internal::ModelFamily;
using internal::ObjectReader;

// Where multimodal configs keep the language model, in order of preference.
// Towers (vision_config, audio_config) are never looked into.
constexpr auto kLanguageKeys = std::to_array<std::string_view>(
    {"text_config", "language_config", "llm_config", "language_model_config",
     "thinker_config"});

// Deeper than any published nesting (thinker_config.text_config is two).
constexpr int kMaxNesting = 4;

// The index of a large checkpoint lists some hundred thousand tensors.
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{256} << 20;

// The objects from the top of the file down to the language model.
struct Nest {
  std::vector<const JsonValue*> objects;
  std::vector<std::string> prefixes;

  const JsonValue& language() const { return *objects.back(); }
};

Nest FindLanguageModel(const JsonValue& root) {
  Nest nest{{&root}, {""}};
  for (int depth = 0; depth < kMaxNesting; ++depth) {
    const JsonValue* inner = nullptr;
    for (std::string_view key : kLanguageKeys) {
      const JsonValue* value = nest.language().Find(key);
      if (value == nullptr || !value->IsObject()) continue;
      inner = value;
      nest.prefixes.push_back(Concat(nest.prefixes.back(), key, "."));
      break;
    }
    if (inner == nullptr) break;
    nest.objects.push_back(inner);
  }
  return nest;
}

// Looks from the language model outwards: wrappers repeat or hold some keys
// for the model inside. `read` answers whether it found what it looks for.
template <typename Read>
absl::Status Outwards(const Nest& nest, std::string_view file, Read read) {
  for (std::size_t i = nest.objects.size(); i-- > 0;) {
    ObjectReader in(*nest.objects[i], file, nest.prefixes[i]);
    const bool found = read(in);
    TG_RETURN_IF_ERROR(in.status());
    if (found) break;
  }
  return absl::OkStatus();
}

absl::Status ReadCompute(const Nest& nest, std::string_view file,
                         const ModelOverrides& overrides, ModelConfig& config) {
  if (overrides.compute.has_value()) {
    config.shape.compute = *overrides.compute;
    return absl::OkStatus();
  }
  bool stated = false;
  TG_RETURN_IF_ERROR(Outwards(nest, file, [&](ObjectReader& in) {
    const std::string_view key = in.FirstOf({"dtype", "torch_dtype"});
    const std::string name = in.StringOrEmpty(key);
    if (name.empty() || name == "auto") return false;
    const absl::StatusOr<ComputeType> type = ParseComputeType(name);
    if (!type.ok()) {
      in.FailAt(key, "float32, float16 or bfloat16");
      return false;
    }
    config.shape.compute = *type;
    return stated = true;
  }));
  if (!stated) {
    config.warnings.push_back(
        Concat(file, ": key dtype is not stated: bfloat16 is assumed"));
  }
  return absl::OkStatus();
}

// Width of stored KV as a quantisation scheme names it: {"num_bits": 8},
// "FP8", "auto". False when the scheme leaves it alone.
bool ReadKvScheme(ObjectReader& in, std::string_view key, ElementSize* size) {
  const JsonValue* value = in.Find(key);
  if (value == nullptr) return false;
  if (value->IsObject()) {
    ObjectReader scheme(*value, in.file(), Concat(in.prefix(), key, "."));
    const std::int64_t bits = scheme.Int("num_bits", 1, 32);
    in.Absorb(scheme);
    *size = ElementSize{bits * 65536 / 8};
    return true;
  }
  std::string name = in.StringOrEmpty(key);
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (name.empty() || name == "auto" || name == "none") return false;
  const absl::StatusOr<ElementSize> parsed = ParseElementSize(name);
  if (!parsed.ok()) {
    in.FailAt(key, "a type such as fp8, int8 or auto");
    return false;
  }
  *size = *parsed;
  return true;
}

absl::Status ReadKvElement(const Nest& nest, std::string_view file,
                           const ModelOverrides& overrides, ModelShape& shape) {
  shape.kv_element = ElementSize::OfBytes(SizeOf(shape.compute));
  if (overrides.kv_element.has_value()) {
    shape.kv_element = *overrides.kv_element;
    return absl::OkStatus();
  }
  return Outwards(nest, file, [&](ObjectReader& in) {
    if (ReadKvScheme(in, "kv_cache_dtype", &shape.kv_element)) return true;
    // How weights are quantised changes no width of the arithmetic; only what
    // it says of the cache is read.
    const JsonValue* weights = in.Find("quantization_config");
    if (weights == nullptr || !weights->IsObject()) return false;
    ObjectReader part(*weights, in.file(),
                      Concat(in.prefix(), "quantization_config."));
    const bool found =
        ReadKvScheme(part, "kv_cache_scheme", &shape.kv_element) ||
        ReadKvScheme(part, "kv_cache_quant_algo", &shape.kv_element);
    in.Absorb(part);
    return found;
  });
}

// Gemma 3's text config leaves out what equals the defaults of its class; the
// published 4B config states no head counts at all.
JsonValue WithGemma3Defaults(const JsonValue& stated, std::string_view file,
                             std::vector<std::string>& warnings) {
  struct Default {
    std::string_view key;
    std::int64_t value;
  };
  constexpr auto kDefaults = std::to_array<Default>({{"num_attention_heads", 8},
                                                     {"num_key_value_heads", 4},
                                                     {"head_dim", 256},
                                                     {"vocab_size", 262208}});
  JsonValue object = stated;
  std::string filled;
  for (const Default& d : kDefaults) {
    if (stated.Find(d.key) != nullptr) continue;
    JsonValue value;
    value.type = JsonValue::Type::kInt;
    value.integer = d.value;
    value.text = std::to_string(d.value);
    // In front, where it hides a null of the same name.
    object.keys.insert(object.keys.begin(), std::string(d.key));
    object.items.insert(object.items.begin(), std::move(value));
    filled += Concat(filled.empty() ? "" : ", ", d.key, " ", d.value);
  }
  if (!filled.empty()) {
    warnings.push_back(
        Concat(file, ": Gemma 3's defaults are taken for ", filled));
  }
  return object;
}

// Features whose cache no kind of layer here describes. To price such a model
// as if it had none of them would be a guess.
void RefuseUnsupported(ObjectReader& in) {
  if (in.Has("compress_ratios")) {
    in.FailAt("compress_ratios", "a cache that is not compressed");
  }
  if (in.Has("block_configs")) {
    in.FailAt("block_configs", "layers that share one config");
  }
  const JsonValue* sparse = in.Find("sparse_attention_config");
  if (sparse != nullptr) {
    const JsonValue* used = sparse->Find("use_sparse_attention");
    if (used == nullptr || used->type != JsonValue::Type::kBool ||
        used->boolean) {
      in.FailAt("sparse_attention_config", "attention without block indices");
    }
  }
  if (in.BoolOr("is_encoder_decoder", false)) {
    in.FailAt("is_encoder_decoder", "false, as for a decoder");
  }
}

const ModelFamily& ReadFamily(ObjectReader& in, ModelConfig& config) {
  static constexpr ModelFamily kUnknown;
  const std::string type = in.StringOrEmpty("model_type");
  config.shape.model_type = type;
  config.shape.name = type.empty() ? in.file() : type;
  const ModelFamily* family = FindFamily(type);
  if (family != nullptr) return *family;
  // A tower has the usual keys too, and would pass for a small decoder.
  if (type.find("vision") != std::string::npos ||
      type.find("audio") != std::string::npos) {
    in.FailAt("model_type", "a language model");
  }
  config.warnings.push_back(
      type.empty()
          ? Concat(in.file(), ": key ", in.prefix(),
                   "model_type is not stated: read by the usual keys of a "
                   "decoder")
          : Concat(in.file(), ": model_type ", internal::Quote(type),
                   " is not known: read by the usual keys of a decoder"));
  return kUnknown;
}

// The vocabulary, which some wrappers state instead of the model inside.
absl::Status ReadVocab(const Nest& nest, std::string_view file,
                       const JsonValue& language, ModelShape& shape) {
  ObjectReader in(language, file, nest.prefixes.back());
  if (in.Has("vocab_size") || nest.objects.size() == 1) {
    shape.vocab = in.Int("vocab_size", 1, kMaxWidth);
    return in.status();
  }
  bool found = false;
  TG_RETURN_IF_ERROR(Outwards(nest, file, [&](ObjectReader& outer) {
    if (!outer.Has("vocab_size")) return false;
    shape.vocab = outer.Int("vocab_size", 1, kMaxWidth);
    return found = true;
  }));
  if (!found) in.Int("vocab_size", 1, kMaxWidth);
  return in.status();
}

absl::Status Explain(std::string_view file, const absl::Status& status) {
  if (status.ok()) return status;
  return InvalidArgument(file, ": ", std::string(status.message()));
}

// Bytes of the file, or an error; false in `exists` when there is none.
absl::StatusOr<std::string> ReadFile(const std::string& path, bool* exists) {
  std::error_code error;
  *exists = std::filesystem::exists(path, error);
  if (!*exists) return absl::NotFoundError(Concat(path, ": no such file"));
  if (!std::filesystem::is_regular_file(path, error)) {
    return InvalidArgument(path, ": expected a file, got something else");
  }
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (!error && size > kMaxFileBytes) {
    return InvalidArgument(path, ": expected at most 256 MiB, got ", size,
                           " bytes");
  }
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in.is_open() || in.bad()) {
    return absl::UnavailableError(
        Concat(path, ": cannot be read: ", std::strerror(errno)));
  }
  return std::move(text).str();
}

// The index is an extra: where it is broken the weights stay unknown.
void ReadWeightBytes(const std::string& config_path, ModelConfig& config) {
  const std::string path = (std::filesystem::path(config_path).parent_path() /
                            "model.safetensors.index.json")
                               .string();
  bool exists = false;
  const absl::StatusOr<std::string> text = ReadFile(path, &exists);
  if (!exists) return;
  absl::Status status = text.status();
  if (text.ok()) {
    const absl::StatusOr<JsonValue> root =
        internal::ParseJsonObject(*text, path);
    status = root.status();
    if (root.ok()) {
      const JsonValue* metadata = root->Find("metadata");
      const JsonValue none;
      ObjectReader in(metadata != nullptr ? *metadata : none, path,
                      "metadata.");
      // 2^50 bytes: a petabyte, and exact as a double.
      const Bytes total = in.Int("total_size", 1, Bytes{1} << 50);
      status = in.status();
      if (in.ok()) config.shape.weight_bytes = total;
    }
  }
  if (!status.ok()) {
    config.warnings.push_back(Concat(std::string(status.message()),
                                     "; the weights' size is unknown"));
  }
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json,
                                             std::string_view file,
                                             const ModelOverrides& overrides) {
  TG_ASSIGN_OR_RETURN(const JsonValue root,
                      internal::ParseJsonObject(json, file));
  const Nest nest = FindLanguageModel(root);
  ModelConfig config;
  ModelShape& shape = config.shape;

  ObjectReader stated(nest.language(), file, nest.prefixes.back());
  const ModelFamily& family = ReadFamily(stated, config);
  RefuseUnsupported(stated);
  TG_RETURN_IF_ERROR(stated.status());
  const JsonValue language =
      family.type == "gemma3"
          ? WithGemma3Defaults(nest.language(), file, config.warnings)
          : nest.language();

  ObjectReader in(language, file, nest.prefixes.back());
  // The count of layers first: where it is missing, this is no language model.
  internal::ReadLayerCount(in, family);
  shape.hidden = in.Int("hidden_size", 1, kMaxWidth);
  if (in.Has("max_position_embeddings")) {
    shape.max_position = in.Int("max_position_embeddings", 1, kTokensMax);
  }
  TG_RETURN_IF_ERROR(in.status());
  ReadLayers(in, family, shape);
  TG_RETURN_IF_ERROR(in.status());
  TG_RETURN_IF_ERROR(ReadVocab(nest, file, language, shape));
  TG_RETURN_IF_ERROR(ReadCompute(nest, file, overrides, config));
  TG_RETURN_IF_ERROR(ReadKvElement(nest, file, overrides, shape));

  if (overrides.layers.has_value()) {
    if (*overrides.layers < 1 || *overrides.layers > kMaxLayers) {
      return InvalidArgument(file, ": layers: expected from 1 to ", kMaxLayers,
                             " layers, got ", *overrides.layers);
    }
    shape = shape.WithLayers(*overrides.layers);
  }
  TG_RETURN_IF_ERROR(Explain(file, shape.Validate()));
  return config;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& path,
                                            const ModelOverrides& overrides) {
  bool exists = false;
  TG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, &exists));
  TG_ASSIGN_OR_RETURN(ModelConfig config,
                      ParseModelConfig(text, path, overrides));
  // With another count of layers the weights are another model's.
  if (!overrides.layers.has_value()) ReadWeightBytes(path, config);
  return config;
}

}  // namespace tidegate
