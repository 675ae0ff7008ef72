// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Models and engines that benchmarks price.

#ifndef TIDEGATE_BENCH_MODELS_H_
#define TIDEGATE_BENCH_MODELS_H_

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "tidegate/estimator.h"
#include "tidegate/model_config.h"

namespace tidegate::bench {

// An estimator for a shipped config on an engine such as "mlx@0.31.2/metal".
// Stops the program when either is wrong: there is nothing to measure then.
inline std::unique_ptr<Estimator> MakeEstimator(const std::string& model,
                                                const std::string& engine) {
  const auto config = LoadModelConfig(
      std::string(TIDEGATE_SOURCE_DIR "/examples/models/") + model, {});
  const auto spec = ParseEngine(engine);
  if (config.ok() && spec.ok()) {
    EstimatorOptions options;
    options.shape = config->shape;
    options.engine = *spec;
    auto created = CreateEstimator(options);
    if (created.ok()) return std::move(created->estimator);
  }
  std::fprintf(stderr, "cannot price %s on %s\n", model.c_str(),
               engine.c_str());
  std::exit(1);
}

}  // namespace tidegate::bench

#endif  // TIDEGATE_BENCH_MODELS_H_
