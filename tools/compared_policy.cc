// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/compared_policy.h"

#include <string_view>
#include <utility>

#include "tidegate/status.h"
#include "tools/inputs.h"

namespace tidegate::tools {

absl::StatusOr<NamedPolicy> LoadComparedPolicy(
    std::string name, const std::optional<std::string>& model) {
  constexpr std::string_view kRival = "rival:";
  NamedPolicy named;
  if (name.starts_with(kRival)) {
    TG_ASSIGN_OR_RETURN(
        named.rival, FindRival("--policies: rival",
                               std::string_view(name).substr(kRival.size())));
  } else {
    TG_ASSIGN_OR_RETURN(named.policy, LoadPolicy(name, model));
    TG_ASSIGN_OR_RETURN(named.text, ReadFile(name));
  }
  named.name = std::move(name);
  return named;
}

}  // namespace tidegate::tools
