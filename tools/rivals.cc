// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/rivals.h"

#include <span>

#include "estimators/text.h"

namespace tidegate::tools {
namespace {

struct Rival {
  std::string_view name;
  RivalRule rule;
};

// Every rival there is. A rule that is written as a plug-in policy is named
// here, and nowhere else in the command line.
std::span<const Rival> Rivals() { return {}; }

}  // namespace

std::vector<std::string> RivalNames() {
  std::vector<std::string> names;
  for (const Rival& rival : Rivals()) names.emplace_back(rival.name);
  return names;
}

absl::StatusOr<RivalRule> FindRival(std::string_view name) {
  std::vector<std::string_view> known;
  for (const Rival& rival : Rivals()) {
    if (rival.name == name) return rival.rule;
    known.push_back(rival.name);
  }
  if (known.empty()) {
    return internal::InvalidArgument(
        "--policies: rival:", name,
        ": this version has no rivals; expected policy files");
  }
  return internal::UnknownWord("--policies: rival", name, known);
}

}  // namespace tidegate::tools
