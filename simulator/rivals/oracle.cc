// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// oracle: Tidegate's planner over the true prices, without headroom. It knows
// what every step needs and takes and what is live, not who will arrive nor how
// much each generates: a bound on what better prices can give.

#include "simulator/rivals/kit.h"

namespace tidegate::internal {

absl::StatusOr<SchedulerOptions> MakeOracle(const SchedulerOptions& base,
                                            const RivalFacts& /*facts*/) {
  SchedulerOptions options = base;
  options.memory.headroom = 0;
  return options;
}

}  // namespace tidegate::internal
