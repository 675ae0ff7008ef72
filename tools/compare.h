// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// The runs of a comparison one by one, for whoever spreads them over machines:
// what CompareOne() says is written to the file that CompareTasks() names, and
// RunCompare() with `resume` makes table and report of the files.

#ifndef TIDEGATE_TOOLS_COMPARE_H_
#define TIDEGATE_TOOLS_COMPARE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/arguments.h"

namespace tidegate::tools {

struct CompareTask {
  std::int64_t at = 0;  // position in the table
  std::string file;     // in DIR/runs
};

// Those that are to be run: with `resume`, those whose file in DIR is not there
// or is another run's. Everything that can be wrong with `args` is said here.
absl::StatusOr<std::vector<CompareTask>> CompareTasks(const Arguments& args);

// The text of run `at`'s file, an error in the run included.
absl::StatusOr<std::string> CompareOne(const Arguments& args, std::int64_t at);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_COMPARE_H_
