// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Runs seeds on all cores, and says of the first one that breaks a law which it
// was, what broke, and how to see it again, even where that stops the process:
// the seeds run in a child that names the seed of the thread with its last
// breath.

#ifndef TIDEGATE_TESTS_TORTURE_RUNNER_H_
#define TIDEGATE_TESTS_TORTURE_RUNNER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/testing/faults.h"

namespace tidegate::torture {

// What one seed came to.
struct SeedResult {
  std::string wrong;  // empty: every law held
  testing::TortureCounts counts;
};

// A way to turn a seed into a run. Both functions must depend on the seed
// alone; `run` is called on several threads at once.
struct Harness {
  std::string name;
  std::function<SeedResult(std::uint64_t seed)> run;
  // Of a seed that failed: its shortest failing run, in lines.
  std::function<std::string(std::uint64_t seed)> explain;
};

struct TortureOptions {
  std::uint64_t first = 1;
  std::uint64_t seeds = 1000;
  int jobs = 1;
  bool json = false;
  bool progress = false;  // a line on `err` that is redrawn
  // A seed that takes more processor time has lost its way.
  std::chrono::seconds longest{300};
};

// 0 when every law held, 1 otherwise; then the last line of `out` is the
// command that replays the seed (with `json`: its member "replay").
int RunTorture(const TortureOptions& options,
               const std::vector<Harness>& harnesses, std::ostream& out,
               std::ostream& err);

}  // namespace tidegate::torture

#endif  // TIDEGATE_TESTS_TORTURE_RUNNER_H_
