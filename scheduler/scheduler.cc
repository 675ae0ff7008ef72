// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tidegate/scheduler.h"

#include <utility>

#include "estimators/text.h"
#include "scheduler/core.h"
#include "tidegate/status.h"
#include "tidegate/tenants.h"

namespace tidegate {

namespace internal {
namespace {

absl::Status CheckStep(const StepShape& step, const ChunkLimits& reachable) {
  struct Count {
    std::string_view name;
    std::int64_t value;
    std::int64_t least;
  };
  for (const Count& count :
       {Count{"sequences", step.sequences, 1}, Count{"tokens", step.tokens, 0},
        Count{"decodes", step.decodes, 0},
        Count{"in_flight", step.in_flight, 1}}) {
    if (count.value >= count.least) continue;
    return InvalidArgument("step.", count.name, ": expected at least ",
                           count.least, ", got ", count.value);
  }
  // Where decode tokens share the step, one at least must fit beside a chunk.
  const bool mixed = step.decode == StepShape::Decode::kMixed;
  const Tokens least = NarrowestChunk(reachable) + (mixed ? 1 : 0);
  if (step.tokens == 0 || step.tokens >= least) return absl::OkStatus();
  return InvalidArgument(
      "step.tokens: expected at least ", least, ", the narrowest chunk",
      mixed ? " and a decode token" : "", ", got ", step.tokens);
}

}  // namespace

absl::StatusOr<Policies> CheckOptions(const SchedulerOptions& options) {
  if (options.estimator == nullptr) {
    return InvalidArgument("estimator: expected one, got none");
  }
  if (options.queue_max < 0) {
    return InvalidArgument("queue_max: expected at least 0, got ",
                           options.queue_max);
  }
  if (options.reading_lag < Duration::zero()) {
    return InvalidArgument("reading_lag: expected at least 0 ns");
  }
  if (options.kv_pool.blocks < 0 || options.kv_pool.blocks > kBytesMax / 2) {
    return InvalidArgument("kv_pool.blocks: expected 0 to ", kBytesMax / 2,
                           ", got ", options.kv_pool.blocks);
  }
  if (options.kv_pool.block_tokens < 1 ||
      options.kv_pool.block_tokens > kTokensMax) {
    return InvalidArgument("kv_pool.block_tokens: expected 1 to ", kTokensMax,
                           ", got ", options.kv_pool.block_tokens);
  }
  if (options.running_max < 0) {
    return InvalidArgument("running_max: expected at least 0, got ",
                           options.running_max);
  }
  TG_RETURN_IF_ERROR(ValidateLimits(options.memory, options.chunk, nullptr));
  for (std::size_t i = 0; i < options.ranks.size(); ++i) {
    MemoryLimits memory = options.memory;
    memory.ceiling = options.ranks[i].ceiling;
    memory.base = options.ranks[i].base;
    const absl::Status valid = ValidateLimits(memory, options.chunk, nullptr);
    if (!valid.ok()) {
      return InvalidArgument("ranks[", i, "]: ", std::string(valid.message()));
    }
  }
  Policies policies = {.chunk = options.custom_chunk,
                       .admission = options.custom_admission,
                       .order = options.custom_order,
                       .pressure = options.custom_pressure};
  if (policies.chunk == nullptr) {
    TG_ASSIGN_OR_RETURN(policies.chunk,
                        CreateChunkPolicy(options.chunk_policy));
  }
  if (policies.admission == nullptr) {
    TG_ASSIGN_OR_RETURN(policies.admission,
                        CreateAdmissionPolicy(options.admission_policy));
  }
  if (policies.order == nullptr) {
    TG_ASSIGN_OR_RETURN(policies.order,
                        CreateOrderPolicy(options.order_policy));
  }
  if (policies.pressure == nullptr) {
    TG_ASSIGN_OR_RETURN(policies.pressure,
                        CreatePressurePolicy(options.pressure_policy));
  }
  TG_RETURN_IF_ERROR(
      CheckStep(options.step, policies.chunk->Reachable(options.chunk)));
  return policies;
}

}  // namespace internal

absl::StatusOr<std::unique_ptr<Scheduler>> Scheduler::Create(
    SchedulerOptions options) {
  TG_ASSIGN_OR_RETURN(internal::Policies policies,
                      internal::CheckOptions(options));
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
  options.kv_pool.blocks = policy.kv_blocks.value_or(options.kv_pool.blocks);
  options.kv_pool.block_tokens =
      policy.kv_block.value_or(options.kv_pool.block_tokens);
  options.chunk.max = policy.chunk_max.value_or(options.chunk.max);
  options.chunk.floor = policy.chunk_floor.value_or(options.chunk.floor);
  options.chunk.quantum = policy.chunk_quantum.value_or(options.chunk.quantum);
  options.decode_stall = policy.decode_stall.value_or(options.decode_stall);
  options.chunk_policy = policy.chunk_policy.value_or(options.chunk_policy);
  options.admission_policy =
      policy.admission_policy.value_or(options.admission_policy);
  options.order_policy = policy.order_policy.value_or(options.order_policy);
  if (options.order_policy == "fair" && !policy.tenants.empty()) {
    options.custom_order = CreateFairOrder(policy.tenants);
  }
  options.time = policy.time_formula;
  options.reading_lag = policy.reading_lag.value_or(options.reading_lag);
  options.queue_max = policy.queue_max.value_or(options.queue_max);
  options.running_max = policy.running_max.value_or(options.running_max);
  StepShape& step = options.step;
  step.sequences = policy.step_sequences.value_or(step.sequences);
  if (policy.step_decode == "mixed") step.decode = StepShape::Decode::kMixed;
  if (policy.step_decode == "between") {
    step.decode = StepShape::Decode::kBetween;
  }
  step.tokens = policy.step_tokens.value_or(step.tokens);
  step.decodes = policy.step_decodes.value_or(step.decodes);
  step.in_flight = policy.step_in_flight.value_or(step.in_flight);
  options.pressure_policy =
      policy.pressure_policy.value_or(options.pressure_policy);
  if (policy.ladder.has_value()) options.ladder = *policy.ladder;
  return options;
}

}  // namespace tidegate
