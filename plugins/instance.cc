// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "plugins/instance.h"

#include <algorithm>

namespace tidegate::internal {
namespace {

// Kinds that attend to other tokens, and so have heads.
bool HasHeads(const Mixer& mixer) {
  return mixer.kind != MixerKind::kLinear && mixer.kind != MixerKind::kNone;
}

tidegate_model DescribeModel(const ModelShape& shape, const char* name) {
  tidegate_model model{};
  model.struct_size = sizeof(model);
  model.name = name;
  model.layers = static_cast<std::int64_t>(shape.layers.size());
  model.hidden = shape.hidden;
  model.vocab = shape.vocab;
  const auto mixer_of = [&](const Layer& layer) -> const Mixer& {
    return shape.mixers[static_cast<std::size_t>(layer.mixer)];
  };
  for (const Layer& layer : shape.layers) {
    const Mixer& mixer = mixer_of(layer);
    if (!HasHeads(mixer)) continue;
    if (model.attention_layers++ > 0) continue;
    model.q_heads = mixer.q_heads;
    model.kv_heads = mixer.kv_heads;
    model.head_dim = mixer.head_dim;
    model.head_dim_v = mixer.head_dim_v;
  }
  for (const Mixer& mixer : shape.mixers) {
    if (mixer.kind == MixerKind::kSliding) {
      model.window = std::max(model.window, mixer.window);
    }
  }
  if (!shape.feed_forwards.empty()) {
    model.intermediate = shape.feed_forwards.front().intermediate;
  }
  model.compute_bytes = SizeOf(shape.compute);
  model.kv_bytes_per_token = shape.KvBytesPerToken();
  model.weight_bytes = shape.weight_bytes.value_or(TIDEGATE_UNSET);
  return model;
}

}  // namespace

PluginSetup::PluginSetup(const PluginOptionTable& options,
                         const ModelShape& shape, const EngineSpec& engine)
    : options_(options),
      engine_(engine),
      model_name_(shape.name),
      model_(DescribeModel(shape, model_name_.c_str())) {
  for (const auto& [key, value] : options_) {
    keys_.push_back(key.c_str());
    values_.push_back(value.c_str());
  }
  setup_ = {.struct_size = sizeof(setup_),
            .reserved = 0,
            .host_abi_major = TIDEGATE_PLUGIN_ABI_MAJOR,
            .host_abi_minor = TIDEGATE_PLUGIN_ABI_MINOR,
            .option_keys = keys_.data(),
            .option_values = values_.data(),
            .option_count = static_cast<std::int64_t>(keys_.size()),
            .model = &model_,
            .engine_name = engine_.name.c_str(),
            .engine_version = engine_.version.c_str(),
            .engine_device = engine_.device.c_str()};
}

}  // namespace tidegate::internal
