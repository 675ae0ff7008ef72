// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "simulator/replay.h"

#include <iterator>
#include <utility>
#include <vector>

#include "estimators/read_file.h"
#include "estimators/text.h"
#include "simulator/judge.h"
#include "simulator/scenario.h"
#include "tidegate/status.h"

namespace tidegate {
namespace {

using internal::Concat;
using internal::InvalidArgument;
using internal::Scenario;

ReplayCounts RunAll(const std::vector<Scenario>& scenarios,
                    const LineSink& print) {
  ReplayCounts counts;
  for (const Scenario& scenario : scenarios) {
    const std::vector<std::string> failures = internal::RunScenario(scenario);
    if (failures.empty()) {
      ++counts.passed;
      print(Concat("PASS ", scenario.id));
      continue;
    }
    ++counts.failed;
    std::string line = Concat("FAIL ", scenario.id, ": ", failures.front());
    for (std::size_t i = 1; i < failures.size(); ++i) {
      line += Concat("; ", failures[i]);
    }
    print(line);
  }
  return counts;
}

}  // namespace

absl::StatusOr<ReplayCounts> ReplayText(std::string_view text,
                                        std::string_view file,
                                        const LineSink& print) {
  TG_ASSIGN_OR_RETURN(const std::vector<Scenario> scenarios,
                      internal::ParseScenarios(text, file));
  return RunAll(scenarios, print);
}

absl::StatusOr<ReplayCounts> ReplayFiles(std::span<const std::string> paths,
                                         const LineSink& print) {
  std::vector<Scenario> all;
  for (const std::string& path : paths) {
    TG_ASSIGN_OR_RETURN(const std::string text,
                        internal::ReadFile(path, "scenario file"));
    TG_ASSIGN_OR_RETURN(std::vector<Scenario> scenarios,
                        internal::ParseScenarios(text, path));
    std::move(scenarios.begin(), scenarios.end(), std::back_inserter(all));
  }
  const ReplayCounts counts = RunAll(all, print);
  print(Concat(counts.passed, " passed, ", counts.failed, " failed"));
  return counts;
}

}  // namespace tidegate
