// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_TOOLS_COMPARED_POLICY_H_
#define TIDEGATE_TOOLS_COMPARED_POLICY_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tidegate/policy_file.h"
#include "tools/rivals.h"

namespace tidegate::tools {

// One entry of `compare --policies`.
struct NamedPolicy {
  std::string name;  // as it was typed
  // What the file says. Empty for a rival, which takes model, engine, memory
  // and cache from the first policy file beside it.
  PolicyFile policy;
  std::string text;  // of that file
  RivalRule rival;  // null for a file
};

// "policy.toml" or "rival:NAME". InvalidArgument or NotFound as the policy
// file's reader says, or for a rival that is not known.
// `model`: --model, for the policy's [[model_override]].
absl::StatusOr<NamedPolicy> LoadComparedPolicy(
    std::string name, const std::optional<std::string>& model = std::nullopt);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_COMPARED_POLICY_H_
