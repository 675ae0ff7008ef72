// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "plugins/registry.h"

#include "scheduler/policy_keys.h"
#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

template <typename Policy>
void AddPolicies(
    Registries::OfPolicy<Policy>* registry,
    std::span<const std::string_view> words,
    absl::StatusOr<std::unique_ptr<Policy>> (*create)(std::string_view)) {
  for (const std::string_view word : words) {
    registry->Add(std::string(word),
                  [word, create](const ModelShape&, const EngineSpec&)
                      -> absl::StatusOr<std::shared_ptr<const Policy>> {
                    TG_ASSIGN_OR_RETURN(std::unique_ptr<Policy> policy,
                                        create(word));
                    return std::shared_ptr<const Policy>(std::move(policy));
                  });
  }
}

}  // namespace

Registries Registries::WithBuiltins() {
  Registries all;
  for (const PolicyKey& key : PolicyKeys()) {
    if (key.name != "use") continue;
    if (key.table == "estimator") {
      for (const std::string_view word : key.words) {
        all.estimator.Add(std::string(word),
                          [](const EstimatorOptions& options) {
                            return CreateEstimator(options);
                          });
      }
    } else if (key.table == "chunk") {
      AddPolicies(&all.chunk, key.words, &CreateChunkPolicy);
    } else if (key.table == "admission") {
      AddPolicies(&all.admission, key.words, &CreateAdmissionPolicy);
    } else if (key.table == "order") {
      AddPolicies(&all.order, key.words, &CreateOrderPolicy);
    } else if (key.table == "pressure") {
      AddPolicies(&all.pressure, key.words, &CreatePressurePolicy);
    }
  }
  return all;
}

}  // namespace tidegate::internal
