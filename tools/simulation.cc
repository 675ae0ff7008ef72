// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/simulation.h"

#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include "estimators/json_reader.h"
#include "estimators/text.h"
#include "tidegate/scheduler.h"
#include "tidegate/status.h"
#include "tools/inputs.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::InvalidArgument;
using internal::Quote;

template <typename T>
bool ParseWhole(std::string_view text, T* value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *value);
  return error == std::errc() && stop == end;
}

}  // namespace

absl::StatusOr<double> ReadPositive(std::string_view text,
                                    std::string_view flag) {
  double value = 0;
  if (ParseWhole(text, &value) && std::isfinite(value) && value > 0) {
    return value;
  }
  return InvalidArgument(flag, ": expected a number above 0, got ",
                         Quote(text));
}

absl::StatusOr<std::int64_t> ReadInteger(std::string_view text,
                                         std::string_view flag,
                                         std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  if (ParseWhole(text, &value) && value >= low && value <= high) return value;
  return InvalidArgument(flag, ": expected an integer from ", low, " to ", high,
                         ", got ", Quote(text));
}

absl::StatusOr<TraceOptions> ReadTraceOptions(const Arguments& args) {
  TraceOptions options;
  if (args.requests.has_value()) {
    TG_ASSIGN_OR_RETURN(
        options.requests_max,
        ReadInteger(*args.requests, "--requests", 1, kTraceRowsMax));
  }
  return options;
}

absl::StatusOr<PreparedSimulation> PrepareSimulation(PolicyFile merged,
                                                     const Arguments& args) {
  TG_ASSIGN_OR_RETURN(Inputs inputs, LoadInputs(std::move(merged), args.plugins));
  const PolicyFile& policy = inputs.policy;
  PreparedSimulation prepared;
  prepared.warnings = inputs.warnings;
  prepared.shape = inputs.shape;
  TG_ASSIGN_OR_RETURN(const MemoryLimits memory,
                      ReadMemoryLimits(inputs, &prepared.warnings));
  WarnOfProbe(policy, &prepared.warnings);
  TG_RETURN_IF_ERROR(
      CheckLimits(memory, ReadChunkLimits(policy), policy, &prepared.warnings));

  SimulatorOptions& options = prepared.options;
  TG_ASSIGN_OR_RETURN(
      options.scheduler,
      MakeSchedulerOptions(policy, std::move(inputs.estimator), memory.base));
  TG_RETURN_IF_ERROR(
      inputs.plugins->Apply(inputs.shape, inputs.engine, &options.scheduler));
  prepared.plugins = inputs.plugins;
  TG_ASSIGN_OR_RETURN(options.world.timer, MakeStepTimer(policy));
  if (options.world.timer != nullptr) {
    options.scheduler.time = options.world.timer->Model();
  }
  // The policy file documents that there is no cache unless it asks for one.
  options.cache.capacity = policy.cache_capacity.value_or(0);
  options.cache.block = policy.cache_block.value_or(options.cache.block);
  if (args.max_output.has_value()) {
    TG_ASSIGN_OR_RETURN(options.max_output_tokens,
                        ReadTokens(args.max_output, "--max-output", 0));
  }
  if (args.slo_ttft.has_value()) {
    TG_ASSIGN_OR_RETURN(options.service_levels.ttft_s,
                        ReadPositive(*args.slo_ttft, "--slo-ttft"));
  }
  if (args.slo_itl.has_value()) {
    TG_ASSIGN_OR_RETURN(options.service_levels.itl_s,
                        ReadPositive(*args.slo_itl, "--slo-itl"));
  }
  return prepared;
}

}  // namespace tidegate::tools
