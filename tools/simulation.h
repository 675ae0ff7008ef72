// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What simulate and compare share: from a policy and flags to what Simulate()
// takes.

#ifndef TIDEGATE_TOOLS_SIMULATION_H_
#define TIDEGATE_TOOLS_SIMULATION_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/plugins.h"
#include "tidegate/policy_file.h"
#include "tidegate/simulator.h"
#include "tools/arguments.h"

namespace tidegate::tools {

struct PreparedSimulation {
  SimulatorOptions options;  // may be copied and run on any thread
  // What the policy names. A run that is to be the same whatever ran before
  // needs its own: faults of plug-ins add up.
  std::shared_ptr<const Plugins> plugins;
  ModelShape shape;
  std::vector<std::string> warnings;
};

// `policy` has the flags in it already; --max-output and --slo-* are read here.
absl::StatusOr<PreparedSimulation> PrepareSimulation(PolicyFile policy,
                                                     const Arguments& args);

// --requests.
absl::StatusOr<TraceOptions> ReadTraceOptions(const Arguments& args);

// A number above 0 that a flag gives.
absl::StatusOr<double> ReadPositive(std::string_view text,
                                    std::string_view flag);
// An integer that a flag gives.
absl::StatusOr<std::int64_t> ReadInteger(std::string_view text,
                                         std::string_view flag,
                                         std::int64_t low, std::int64_t high);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_SIMULATION_H_
