// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "examples/server/setup.h"

#include <cstdlib>
#include <utility>

#include "estimators/text.h"
#include "examples/server/simulated_engine.h"
#include "tidegate/model_config.h"
#include "tidegate/policy_file.h"
#include "tidegate/status.h"

namespace tidegate::server {
namespace {

std::optional<std::string> Variable(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

}  // namespace

absl::StatusOr<Setup> LoadSetup(const SetupOptions& options) {
  Setup setup;
  TG_ASSIGN_OR_RETURN(
      PolicyFile policy,
      LoadPolicyFile(options.policy, {.environment = Variable}));
  if (options.model_config.has_value()) {
    policy.model_config = options.model_config;
    policy.model_shape.reset();
  }
  ModelShape shape;
  if (policy.model_shape.has_value()) {
    shape = *policy.model_shape;
  } else if (policy.model_config.has_value()) {
    TG_ASSIGN_OR_RETURN(
        ModelConfig config,
        LoadModelConfig(*policy.model_config, policy.model_overrides));
    shape = std::move(config.shape);
    setup.warnings = std::move(config.warnings);
  } else {
    return internal::InvalidArgument(
        options.policy, ": no [model]; expected one there or --model");
  }
  const std::string config = policy.model_config.value_or("");
  TG_ASSIGN_OR_RETURN(policy,
                      PolicyForModel(policy, DescribeModel(shape, config)));
  if (options.ceiling.has_value()) policy.ceiling = options.ceiling;
  if (options.base.has_value()) policy.base = options.base;
  if (options.queue_max.has_value()) policy.queue_max = options.queue_max;

  const EngineSpec engine = policy.engine.value_or(EngineSpec{});
  TG_ASSIGN_OR_RETURN(EstimatorOptions prices,
                      MakeEstimatorOptions(policy, shape, engine));
  TG_ASSIGN_OR_RETURN(CreatedEstimator made, CreateEstimator(prices));
  const std::shared_ptr<const Estimator> estimator = std::move(made.estimator);
  for (const auto* more : {&policy.warnings, &made.warnings}) {
    setup.warnings.insert(setup.warnings.end(), more->begin(), more->end());
  }

  const Bytes base = policy.base.value_or(shape.weight_bytes.value_or(0));
  // The engine says what is live; a probe would read this machine instead.
  policy.probe.reset();
  TG_ASSIGN_OR_RETURN(setup.service,
                      MakeServiceOptions(policy, estimator, base));
  TG_ASSIGN_OR_RETURN(auto timer, MakeStepTimer(policy));
  const SchedulerOptions& scheduler = setup.service.scheduler;
  TG_ASSIGN_OR_RETURN(
      setup.engine, CreateSimulatedEngine(
                        {.model = options.model,
                         .estimator = estimator,
                         .timer = std::move(timer),
                         .ceiling = scheduler.memory.ceiling,
                         .base = scheduler.memory.base,
                         .context_length = shape.max_position,
                         .decode_interval = options.decode_interval,
                         .speed = options.speed,
                         .decodes_in_steps = scheduler.step.DecodesInSteps()}));
  setup.about = internal::Concat(
      shape.name, " on ", EngineName(engine), ", simulated; ceiling ",
      internal::FormatBytes(scheduler.memory.ceiling), ", base ",
      internal::FormatBytes(scheduler.memory.base));
  return setup;
}

}  // namespace tidegate::server
