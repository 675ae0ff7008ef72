// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/scheduler.h"

#include <utility>

#include "estimators/text.h"
#include "scheduler/core.h"
#include "tidegate/status.h"

namespace tidegate {

absl::StatusOr<std::unique_ptr<Scheduler>> Scheduler::Create(
    SchedulerOptions options) {
  if (options.estimator == nullptr) {
    return internal::InvalidArgument("estimator: expected one, got none");
  }
  if (options.queue_max < 0) {
    return internal::InvalidArgument("queue_max: expected at least 0, got ",
                                     options.queue_max);
  }
  TG_RETURN_IF_ERROR(ValidateLimits(options.memory, options.chunk, nullptr));
  internal::Policies policies;
  TG_ASSIGN_OR_RETURN(policies.chunk, CreateChunkPolicy(options.chunk_policy));
  TG_ASSIGN_OR_RETURN(policies.admission,
                      CreateAdmissionPolicy(options.admission_policy));
  TG_ASSIGN_OR_RETURN(policies.order, CreateOrderPolicy(options.order_policy));
  return std::unique_ptr<Scheduler>(std::make_unique<internal::Core>(
      std::move(options), std::move(policies)));
}

absl::StatusOr<SchedulerOptions> MakeSchedulerOptions(
    const PolicyFile& policy, std::shared_ptr<const Estimator> estimator,
    Bytes base) {
  if (!policy.ceiling.has_value()) {
    return internal::InvalidArgument(
        "memory.ceiling: expected bytes that must never be exceeded, got "
        "nothing");
  }
  SchedulerOptions options;
  options.estimator = std::move(estimator);
  // A profile is a correction already: learning on top of it would be bounded
  // by the corrected price and no longer by the static one.
  options.calibrate =
      policy.estimator == "calibrated" && !policy.profile.has_value();
  options.memory.ceiling = *policy.ceiling;
  options.memory.base = policy.base.value_or(base);
  options.memory.headroom = policy.headroom.value_or(0);
  options.memory.max_allocation = policy.max_allocation;
  options.chunk.max = policy.chunk_max.value_or(options.chunk.max);
  options.chunk.floor = policy.chunk_floor.value_or(options.chunk.floor);
  options.chunk.quantum = policy.chunk_quantum.value_or(options.chunk.quantum);
  options.decode_stall = policy.decode_stall.value_or(options.decode_stall);
  options.chunk_policy = policy.chunk_policy.value_or(options.chunk_policy);
  options.admission_policy =
      policy.admission_policy.value_or(options.admission_policy);
  options.order_policy = policy.order_policy.value_or(options.order_policy);
  options.queue_max = policy.queue_max.value_or(options.queue_max);
  if (policy.ladder.has_value()) options.ladder = *policy.ladder;
  return options;
}

}  // namespace tidegate
