// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/rivals.h"

#include <algorithm>
#include <string>
#include <vector>

#include "estimators/text.h"
#include "tidegate/rivals.h"

namespace tidegate::tools {

absl::StatusOr<RivalRule> FindRival(std::string_view where,
                                    std::string_view name) {
  const std::vector<std::string_view> known = RivalNames();
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    return internal::UnknownWord(where, name, known);
  }
  return [name = std::string(name)](const ModelShape& shape,
                                    SimulatorOptions* options) {
    RivalFacts facts{.shape = shape};
    facts.context = shape.max_position.value_or(facts.context);
    return ApplyRival(name, facts, options);
  };
}

}  // namespace tidegate::tools
