// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Many simulations at once: independent of each other, each on one thread, with
// the same results whatever the number of threads.

#ifndef TIDEGATE_TOOLS_SWEEP_H_
#define TIDEGATE_TOOLS_SWEEP_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidegate/simulator.h"

namespace tidegate::tools {

struct SweepRun {
  const Trace* trace = nullptr;
  double load = 1;
  std::int64_t seed = 0;
  SimulatorOptions options;  // without callbacks
};

// Arrivals `load` times as fast. With a seed other than 0, the gaps between
// arrivals in another order, drawn from it: as much load and as bursty, but
// other requests meet. Requests keep their order. InvalidArgument when `load`
// makes arrivals later than a trace may have.
absl::StatusOr<Trace> VaryArrivals(const Trace& trace, double load,
                                   std::int64_t seed);

// Runs everything on `jobs` threads. `done` receives the position of each run
// and what came of it, in any order and on several threads at once; `progress`
// the share of all requests that have ended, on the caller's thread. Either may
// be null.
void RunSweep(const std::vector<SweepRun>& runs, int jobs,
              const std::function<void(std::size_t,
                                       absl::StatusOr<SimulationResult>)>& done,
              const std::function<void(double)>& progress);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_SWEEP_H_
