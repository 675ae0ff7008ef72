// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a model_type implies that its config.json need not state: which layers
// are of which kind when no list says so, and the parts that are in the code
// of the model rather than in its config.

#ifndef TIDEGATE_ESTIMATORS_MODEL_FAMILIES_H_
#define TIDEGATE_ESTIMATORS_MODEL_FAMILIES_H_

#include <cstdint>
#include <string_view>

namespace tidegate::internal {

// Kinds of the layers where the config has no list of them.
enum class LayerPattern {
  kFull,              // every layer sees everything; a stated window is ignored
  kWindow,            // every layer slides when a window is stated
  kUpperWindow,       // layers from max_window_layers on, if use_sliding_window
  kPeriodicWindow,    // every period-th layer is full, the others slide
  kChunked,           // Llama 4: layers without rotary embedding are full
  kSwaPattern,        // MiMo-V2: hybrid_layer_pattern, 1 slides
  kPeriodicLinear,    // every period-th layer is full, the others linear
  kLightning,         // MiniMax-01: attn_type_list, 0 is linear
  kAttentionPeriod,   // Jamba: attn_layer_period and attn_layer_offset
  kAttentionIndices,  // Bamba: attn_layer_indices
  kStated,            // a list is required: no default exists
  kCharacters,        // Nemotron-H: a pattern of M, *, - and E
  kParallel,          // Falcon-H1: attention and Mamba-2 in every layer
  kKimiLinear,        // linear_attn_config.kda_layers, counted from 1
};

// What the linear layers of a family are.
enum class LinearFamily {
  kNone,
  kDeltaNet,
  kLightning,
  kMamba1,
  kMamba2,
  kKda
};

struct ModelFamily {
  std::string_view type;  // model_type without a "_text" suffix
  LayerPattern pattern = LayerPattern::kFull;
  std::int64_t period = 0;  // of the pattern, when the config has none
  LinearFamily linear = LinearFamily::kNone;
  bool mha_default = false;  // num_key_value_heads absent: as many as heads
  bool qk_norm = false;
  bool bias = false;  // projections carry biases unless stated
  bool sinks = false;
  bool output_gate = false;
  bool gated_mlp = true;
  bool mlp_bias = false;
};

// The family of a model_type; null when this version does not know it.
const ModelFamily* FindFamily(std::string_view model_type);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_MODEL_FAMILIES_H_
