// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Rules of other engines, by name, for `compare --policies rival:NAME`.

#ifndef TIDEGATE_TOOLS_RIVALS_H_
#define TIDEGATE_TOOLS_RIVALS_H_

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/model_shape.h"
#include "tidegate/simulator.h"

namespace tidegate::tools {

// Puts a rival's rules in place of those that a policy asks for: called with
// the options of a run, in which model, engine, memory and estimator are those
// of the policy that the rival is compared with.
using RivalRule =
    std::function<absl::Status(const ModelShape&, SimulatorOptions*)>;

// `name` is "NAME" or "NAME:KEY=INTEGER:…", where the keys say how the rival is
// started (docs/rivals.md). InvalidArgument for a name that is not one of
// tidegate::RivalNames() and for an unknown key; `where` is the flag that has
// it.
absl::StatusOr<RivalRule> FindRival(std::string_view where,
                                    std::string_view name);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_RIVALS_H_
