// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What `plan` and `explain` share: one prompt, planned under the limits of the
// command line.

#ifndef TIDEGATE_TOOLS_PLANNED_H_
#define TIDEGATE_TOOLS_PLANNED_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/plan.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/load.h"
#include "tools/output.h"

namespace tidegate::tools {

struct Planned {
  Inputs inputs;
  PlanRequest request;
  MemoryLimits memory;
  ChunkLimits chunk;  // what the configured chunk policy can reach
  // The context that is loaded for this prompt, where that was open.
  std::optional<PlannedLoad> load;
  Plan plan;
  std::vector<std::string> warnings;
};

// InvalidArgument names the flag.
absl::StatusOr<Planned> PlanFromArguments(const Arguments& args);

// 3 for a refusal, otherwise 0.
int ExitCode(const Plan& plan);

// "Admitted: 40,000 tokens in 20 chunks", or the refusal's reason.
std::string VerdictSentence(const Planned& planned);

// verdict, code (null when admitted), reason, chunks, peak_bytes,
// largest_prompt_that_fits, arithmetic.
void PutPlan(const Plan& plan, JsonWriter& json);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_PLANNED_H_
