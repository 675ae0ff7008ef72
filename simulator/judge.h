// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Runs a scenario and says what came otherwise than expected.
//
// Thread-safety: pure functions.

#ifndef TIDEGATE_SIMULATOR_JUDGE_H_
#define TIDEGATE_SIMULATOR_JUDGE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "simulator/driver.h"
#include "simulator/scenario.h"

namespace tidegate::internal {

// What Driver needs to run the scenario. InvalidArgument for a model, engine or
// policy that do not go together.
absl::StatusOr<DriverOptions> MakeDriverOptions(const Scenario& scenario);

// Each expectation that was not met, as "what was expected, what came"; empty
// when all were. A promise that the scheduler broke is one of them.
std::vector<std::string> RunScenario(const Scenario& scenario);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_JUDGE_H_
