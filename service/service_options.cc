// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <utility>

#include "tidegate/service.h"
#include "tidegate/status.h"

namespace tidegate {

absl::StatusOr<ServiceOptions> MakeServiceOptions(
    const PolicyFile& policy, std::shared_ptr<const Estimator> estimator,
    Bytes base, const MemoryProbeOptions& probe) {
  ServiceOptions options;
  TG_ASSIGN_OR_RETURN(options.scheduler,
                      MakeSchedulerOptions(policy, std::move(estimator), base));
  options.tenants = policy.tenants;
  TG_ASSIGN_OR_RETURN(options.probe,
                      CreateMemoryProbe(policy.probe.value_or("none"), probe));
  return options;
}

}  // namespace tidegate
