// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What `plan` and `explain` say of an engine that reserves its memory when it
// loads: with which n_ubatch and n_ctx.

#ifndef TIDEGATE_TOOLS_LOAD_H_
#define TIDEGATE_TOOLS_LOAD_H_

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidegate/load_plan.h"
#include "tools/arguments.h"
#include "tools/inputs.h"
#include "tools/output.h"

namespace tidegate::tools {

struct PlannedLoad {
  LoadPlan plan;
  MemoryLimits memory;
  Tokens outputs = 0;  // rows of logits; 0: one for each token of a step
};

// Whether the load is open: the engine pays then, and its options do not state
// both n_ubatch and n_ctx.
bool LoadIsOpen(const Inputs& inputs);

// Chooses what the options leave open. `wanted`: tokens that must fit; 0: as
// many as can. InvalidArgument names the flag.
absl::StatusOr<PlannedLoad> PlanLoadFor(const Inputs& inputs, Tokens wanted,
                                        std::vector<std::string>* warnings);

// The arguments with the chosen load as engine options and as widest chunk.
Arguments WithLoad(const Arguments& args, const PlannedLoad& load);

void PrintLoad(const PlannedLoad& load, std::ostream& out);
// The object "load".
void PutLoad(const PlannedLoad& load, JsonWriter& json);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_LOAD_H_
