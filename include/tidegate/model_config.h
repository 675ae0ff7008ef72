// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Reads a ModelShape from a Hugging Face config.json, or from the short inline
// shape of policy files and scenarios.
//
// Nested configs (text_config, language_config, llm_config) are followed; a
// vision or audio tower is never read as the language model. A model_type that
// this version does not know is read by the usual keys of a decoder, with one
// warning. A missing or absurd key is an error that names it; nothing is
// guessed but what the model's own configuration class defines as its default.
//
// Three readings that a config does not spell out:
//   - A number written with a fraction counts where it is whole (4096.0).
//   - No dtype, or null: bfloat16, with a warning.
//   - A window as long as max_position_embeddings never slides: the layer is
//     counted as full attention.
//
// Thread-safety: pure functions.

#ifndef TIDEGATE_MODEL_CONFIG_H_
#define TIDEGATE_MODEL_CONFIG_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/model_shape.h"

namespace tidegate {

struct ModelConfig {
  ModelShape shape;
  std::vector<std::string> warnings;
};

// Overrides that a config.json does not state.
struct ModelOverrides {
  std::optional<ComputeType> compute;
  std::optional<ElementSize> kv_element;
  std::optional<Tokens> layers;  // WithLayers()
};

// `json` is the text of a config.json; `file` names it in messages.
// InvalidArgument: "FILE: key KEY: expected …, got …".
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json,
                                             std::string_view file,
                                             const ModelOverrides& overrides);

// Reads the file, and model.safetensors.index.json beside it for the weight
// bytes. NotFound when there is no such file.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::string& path,
                                            const ModelOverrides& overrides);

// The inline shape: q_heads, kv_heads, head_dim, layers, kv_layers, hidden,
// intermediate, vocab, compute_dtype, kv_dtype. Unknown keys are errors.
absl::StatusOr<ModelConfig> ParseInlineShape(std::string_view json,
                                             std::string_view file);

// "fp32" "fp16" "bf16" "fp8" "int8" "int4" "q8_0", long spellings such as
// "bfloat16", or a number of bytes per element ("0.515625").
absl::StatusOr<ElementSize> ParseElementSize(std::string_view text);
absl::StatusOr<ComputeType> ParseComputeType(std::string_view text);

}  // namespace tidegate

#endif  // TIDEGATE_MODEL_CONFIG_H_
