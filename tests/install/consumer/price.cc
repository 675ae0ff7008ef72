// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Prints the transient bytes that the estimator of a policy file, be it a plug-in
// or not, has for one chunk.
#include <iostream>

#include "tidegate/plugins.h"
#include "tidegate/tidegate.h"

static absl::StatusOr<tidegate::Bytes> PriceOf(const std::string& file) {
  using namespace tidegate;
  TG_ASSIGN_OR_RETURN(const PolicyFile policy, LoadPolicyFile(file));
  TG_ASSIGN_OR_RETURN(Plugins plugins, Plugins::Load(policy));
  TG_ASSIGN_OR_RETURN(
      ModelConfig model,
      LoadModelConfig(*policy.model_config, policy.model_overrides));
  TG_ASSIGN_OR_RETURN(
      const EstimatorOptions options,
      MakeEstimatorOptions(policy, model.shape, *policy.engine));
  TG_ASSIGN_OR_RETURN(const CreatedEstimator made,
                      plugins.CreateEstimator(options));
  const Chunk chunk{.n = 64, .kv_len = 100'000};
  return made.estimator->Total({.chunks = {&chunk, 1}}).transient_bytes;
}

int main(int argc, char** argv) {
  const auto bytes = PriceOf(argc > 1 ? argv[1] : "policy.toml");
  if (!bytes.ok()) {
    std::cerr << bytes.status().message() << "\n";
    return 1;
  }
  std::cout << *bytes << "\n";
  return 0;
}
