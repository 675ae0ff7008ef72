// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/inputs.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "estimators/read_file.h"
#include "estimators/text.h"
#include "scheduler/policy_keys.h"
#include "scheduler/units.h"
#include "tidegate/catalogue.h"
#include "tidegate/status.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::InvalidArgument;

absl::Status OverlayBytes(const std::optional<std::string>& value,
                          std::string_view flag, Bytes min,
                          std::optional<Bytes>* out) {
  if (!value.has_value()) return absl::OkStatus();
  Bytes bytes = 0;
  if (!internal::ParseBytes(*value, &bytes) || bytes < min) {
    return InvalidArgument(flag, ": expected bytes", min > 0 ? " above 0" : "",
                           ", such as \"36 GiB\" or 4096, got \"", *value,
                           "\"");
  }
  *out = bytes;
  return absl::OkStatus();
}

absl::Status OverlayTokens(const std::optional<std::string>& value,
                           std::string_view flag, std::optional<Tokens>* out) {
  if (!value.has_value()) return absl::OkStatus();
  TG_ASSIGN_OR_RETURN(*out, ReadTokens(value, flag, std::nullopt, 1));
  return absl::OkStatus();
}

absl::Status OverlayEngine(const Arguments& args, PolicyFile* policy) {
  if (args.engine.has_value()) {
    absl::StatusOr<EngineSpec> engine = ParseEngine(*args.engine);
    if (!engine.ok()) {
      return InvalidArgument("--", std::string(engine.status().message()));
    }
    // Options belong to an engine: another engine has other ones.
    if (policy->engine.has_value() && policy->engine->name == engine->name) {
      engine->options = std::move(policy->engine->options);
    }
    policy->engine = *std::move(engine);
  }
  for (const std::string& option : args.engine_options) {
    const std::size_t equals = option.find('=');
    if (equals == std::string::npos || equals == 0) {
      return InvalidArgument("--engine-option: expected KEY=VALUE, got \"",
                             option, "\"");
    }
    if (!policy->engine.has_value()) {
      return InvalidArgument(
          "--engine-option: expected an engine beside it: missing --engine");
    }
    policy->engine->options[option.substr(0, equals)] =
        option.substr(equals + 1);
  }
  return absl::OkStatus();
}

absl::Status LoadModel(Inputs* inputs) {
  PolicyFile& policy = inputs->policy;
  if (policy.model_shape.has_value()) {
    inputs->shape = *policy.model_shape;
    inputs->model_source = "inline shape";
    if (policy.model_overrides.kv_element.has_value()) {
      inputs->shape.kv_element = *policy.model_overrides.kv_element;
    }
    return absl::OkStatus();
  }
  if (!policy.model_config.has_value()) {
    return InvalidArgument(
        "missing --model: a config.json, or a policy file with [model]");
  }
  inputs->model_source = *policy.model_config;
  TG_ASSIGN_OR_RETURN(
      ModelConfig config,
      LoadModelConfig(*policy.model_config, policy.model_overrides));
  inputs->shape = std::move(config.shape);
  inputs->warnings.insert(inputs->warnings.end(), config.warnings.begin(),
                          config.warnings.end());
  return absl::OkStatus();
}

absl::Status MakeEstimator(const InProcessPlugins& in_process, Inputs* inputs) {
  const PolicyFile& policy = inputs->policy;
  if (!policy.engine.has_value() &&
      policy.estimator.value_or("catalog") == "catalog") {
    return InvalidArgument(
        "missing --engine: NAME@VERSION/DEVICE such as mlx@0.31.2/metal, or a "
        "policy file with [engine]");
  }
  inputs->engine = policy.engine.value_or(EngineSpec{});
  TG_ASSIGN_OR_RETURN(Plugins plugins,
                      Plugins::Load(policy, ToolPluginOptions(), in_process));
  inputs->plugins = std::make_shared<Plugins>(std::move(plugins));
  TG_ASSIGN_OR_RETURN(
      inputs->estimator_options,
      MakeEstimatorOptions(policy, inputs->shape, inputs->engine));
  TG_ASSIGN_OR_RETURN(
      CreatedEstimator created,
      inputs->plugins->CreateEstimator(inputs->estimator_options));
  inputs->estimator = std::move(created.estimator);
  inputs->warnings.insert(inputs->warnings.end(), created.warnings.begin(),
                          created.warnings.end());
  return absl::OkStatus();
}

// The options beside a name were meant for what it replaces.
void OverlayPlugins(const InProcessPlugins& plugins, PolicyFile* policy) {
  for (const auto& [name, own] : plugins) {
    const auto use = [&](const void* table, std::optional<std::string>* word,
                         PluginOptionTable* options) {
      if (table == nullptr) return;
      *word = Concat(internal::kPluginWord, name);
      options->clear();
    };
    use(own.plugin->estimator, &policy->estimator, &policy->estimator_options);
    use(own.plugin->chunk, &policy->chunk_policy, &policy->chunk_options);
    use(own.plugin->admission, &policy->admission_policy,
        &policy->admission_options);
    use(own.plugin->order, &policy->order_policy, &policy->order_options);
    use(own.plugin->pressure, &policy->pressure_policy,
        &policy->pressure_options);
  }
}

}  // namespace

absl::StatusOr<PolicyFile> LoadPolicy(const std::string& path,
                                      const std::optional<std::string>& model) {
  PolicySources sources;
  sources.environment =
      [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
  TG_ASSIGN_OR_RETURN(const PolicyFile policy,
                      LoadPolicyFile(path, std::move(sources)));
  if (!model.has_value() && policy.model_shape.has_value()) {
    return PolicyForModel(policy, DescribeModel(*policy.model_shape, ""));
  }
  const std::string config = model.value_or(policy.model_config.value_or(""));
  if (config.empty()) return policy;
  const absl::StatusOr<ModelConfig> loaded =
      LoadModelConfig(config, policy.model_overrides);
  if (!loaded.ok()) return policy;
  return PolicyForModel(policy, DescribeModel(loaded->shape, config));
}

PluginOptions ToolPluginOptions() {
  return {.clock =
              [] {
                return std::chrono::duration_cast<Duration>(
                    std::chrono::steady_clock::now().time_since_epoch());
              },
          .slow_is_fault = false};
}

absl::StatusOr<PolicyFile> MergePolicy(const Arguments& args) {
  PolicyFile policy;
  if (args.policy.has_value()) {
    TG_ASSIGN_OR_RETURN(policy, LoadPolicy(*args.policy, args.model));
  }
  TG_RETURN_IF_ERROR(OverlayFlags(args, &policy));
  return policy;
}

absl::Status OverlayFlags(const Arguments& args, PolicyFile* overlaid) {
  PolicyFile& policy = *overlaid;
  if (args.model.has_value()) {
    policy.model_config = args.model;
    policy.model_shape.reset();
  }
  if (args.kv_dtype.has_value()) {
    absl::StatusOr<ElementSize> element = ParseElementSize(*args.kv_dtype);
    if (!element.ok()) {
      return InvalidArgument("--kv-dtype: ",
                             std::string(element.status().message()));
    }
    policy.model_overrides.kv_element = *element;
  }
  TG_RETURN_IF_ERROR(OverlayEngine(args, &policy));
  if (args.estimator.has_value()) {
    if (args.estimator->starts_with("plugin:")) {
      return InvalidArgument(
          "--estimator: plug-ins are named in a policy file only");
    }
    policy.estimator = args.estimator;
    // Options were the file's estimator's.
    policy.estimator_options.clear();
  }
  OverlayPlugins(args.plugins, &policy);
  if (args.catalogue.has_value()) policy.catalogue = args.catalogue;
  TG_RETURN_IF_ERROR(
      OverlayBytes(args.ceiling, "--ceiling", 1, &policy.ceiling));
  TG_RETURN_IF_ERROR(OverlayBytes(args.base, "--base", 0, &policy.base));
  TG_RETURN_IF_ERROR(
      OverlayBytes(args.headroom, "--headroom", 0, &policy.headroom));
  TG_RETURN_IF_ERROR(OverlayBytes(args.max_allocation, "--max-allocation", 1,
                                  &policy.max_allocation));
  TG_RETURN_IF_ERROR(
      OverlayTokens(args.chunk_max, "--chunk-max", &policy.chunk_max));
  TG_RETURN_IF_ERROR(
      OverlayTokens(args.chunk_floor, "--chunk-floor", &policy.chunk_floor));
  return OverlayTokens(args.chunk_quantum, "--chunk-quantum",
                       &policy.chunk_quantum);
}

absl::StatusOr<Inputs> LoadInputs(PolicyFile policy,
                                  const InProcessPlugins& plugins) {
  Inputs inputs;
  inputs.policy = std::move(policy);
  inputs.warnings = inputs.policy.warnings;
  TG_RETURN_IF_ERROR(LoadModel(&inputs));
  TG_RETURN_IF_ERROR(MakeEstimator(plugins, &inputs));
  return inputs;
}

absl::StatusOr<Inputs> LoadInputs(const Arguments& args) {
  TG_ASSIGN_OR_RETURN(PolicyFile policy, MergePolicy(args));
  return LoadInputs(std::move(policy), args.plugins);
}

ChunkLimits ReadChunkLimits(const PolicyFile& policy) {
  ChunkLimits limits;
  limits.max = policy.chunk_max.value_or(limits.max);
  limits.floor = policy.chunk_floor.value_or(limits.floor);
  limits.quantum = policy.chunk_quantum.value_or(limits.quantum);
  return limits;
}

absl::StatusOr<MemoryLimits> ReadMemoryLimits(
    const Inputs& inputs, std::vector<std::string>* warnings) {
  const PolicyFile& policy = inputs.policy;
  if (!policy.ceiling.has_value()) {
    return InvalidArgument(
        "missing --ceiling: bytes that must never be exceeded, such as "
        "\"36 GiB\", or a policy file with [memory]");
  }
  MemoryLimits limits;
  limits.ceiling = *policy.ceiling;
  limits.headroom = policy.headroom.value_or(0);
  limits.max_allocation = policy.max_allocation;
  if (policy.base.has_value()) {
    limits.base = *policy.base;
  } else if (inputs.shape.weight_bytes.has_value()) {
    limits.base = *inputs.shape.weight_bytes;
  } else {
    warnings->push_back(
        "--base is not given and the size of the weights is not known: live "
        "memory is taken as 0 B");
  }
  return limits;
}

void WarnOfProbe(const PolicyFile& policy, std::vector<std::string>* warnings) {
  if (policy.probe.value_or("none") == "none") return;
  warnings->push_back(Concat(
      "memory.probe: \"", *policy.probe,
      "\" has no effect here: a service reads it, this command reads no "
      "device and takes live memory before any request from memory.base"));
}

absl::Status CheckLimits(const MemoryLimits& memory, const ChunkLimits& chunk,
                         const PolicyFile& policy,
                         std::vector<std::string>* warnings) {
  std::vector<std::string> found;
  TG_RETURN_IF_ERROR(ValidateLimits(memory, chunk, &found));
  // The policy file names floor with its line; once is enough.
  const bool told = std::any_of(
      policy.warnings.begin(), policy.warnings.end(), [](const auto& warning) {
        return warning.find("chunk.floor") != std::string::npos;
      });
  if (!told) warnings->insert(warnings->end(), found.begin(), found.end());
  return absl::OkStatus();
}

absl::StatusOr<Tokens> ReadTokens(const std::optional<std::string>& value,
                                  std::string_view flag,
                                  std::optional<Tokens> fallback, Tokens min) {
  if (!value.has_value()) {
    if (fallback.has_value()) return *fallback;
    return InvalidArgument("missing ", flag, ": a number of tokens");
  }
  Tokens tokens = 0;
  if (!internal::ParseTokens(*value, &tokens) || tokens < min) {
    return InvalidArgument(flag, ": expected ", min, " to ", kTokensMax,
                           " tokens, such as 4096 or 8k, got \"", *value, "\"");
  }
  return tokens;
}

absl::StatusOr<MaskKind> ReadMask(const Arguments& args) {
  if (!args.mask.has_value()) return MaskKind::kCausal;
  if (std::optional<MaskKind> mask = ParseMask(*args.mask)) return *mask;
  constexpr std::string_view kMasks[] = {"none",  "causal", "bool",
                                         "float", "array",  "lower_right"};
  return internal::UnknownWord("--mask", *args.mask, kMasks);
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  return internal::ReadFile(path, "file");
}

void PrintWarnings(const std::vector<std::string>& warnings,
                   std::ostream& err) {
  for (const std::string& warning : warnings) {
    err << "warning: " << warning << "\n";
  }
}

}  // namespace tidegate::tools
