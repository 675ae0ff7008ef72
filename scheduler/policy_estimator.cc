// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// From a policy file to an estimator and a step timer: the files that it names
// are read here.

#include <memory>
#include <string>
#include <utility>

#include "estimators/read_file.h"
#include "tidegate/policy_file.h"
#include "tidegate/status.h"

namespace tidegate {

absl::StatusOr<EstimatorOptions> MakeEstimatorOptions(const PolicyFile& policy,
                                                      ModelShape shape,
                                                      EngineSpec engine) {
  EstimatorOptions options;
  options.shape = std::move(shape);
  options.engine = std::move(engine);
  options.use = policy.estimator.value_or(options.use);
  options.tile_q = policy.tile_q.value_or(options.tile_q);
  options.tile_k = policy.tile_k.value_or(options.tile_k);
  options.score_bytes =
      policy.unknown_score_bytes.value_or(options.score_bytes);
  if (policy.catalogue.has_value()) {
    TG_ASSIGN_OR_RETURN(options.catalogue,
                        internal::ReadFile(*policy.catalogue, "file"));
    options.catalogue_file = *policy.catalogue;
  }
  const auto read = [](const std::optional<std::string>& path,
                       std::string_view what, std::string* text,
                       std::string* file) -> absl::Status {
    if (!path.has_value()) return absl::OkStatus();
    TG_ASSIGN_OR_RETURN(*text, internal::ReadFile(*path, what));
    *file = *path;
    return absl::OkStatus();
  };
  // Those of another estimator are not read: they have no effect.
  if (options.use == "table") {
    TG_RETURN_IF_ERROR(
        read(policy.table, "table", &options.table, &options.table_file));
  }
  if (options.use == "calibrated") {
    TG_RETURN_IF_ERROR(read(policy.profile, "profile", &options.profile,
                            &options.profile_file));
  }
  options.formula = policy.formula;
  return options;
}

absl::StatusOr<std::shared_ptr<const StepTimer>> MakeStepTimer(
    const PolicyFile& policy) {
  if (!policy.time_source.has_value()) {
    return std::shared_ptr<const StepTimer>();
  }
  if (*policy.time_source == "formula") {
    return CreateStepTimer(policy.time_formula.value_or(TimeModel{}));
  }
  TG_ASSIGN_OR_RETURN(const TimeProfile profile,
                      LoadTimeProfile(policy.time_profile.value_or("")));
  return CreateStepTimer(profile);
}

}  // namespace tidegate
