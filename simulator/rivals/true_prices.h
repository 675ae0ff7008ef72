// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What steps of a world really need, as an estimator: the world's truth with
// its hidden error. Of an error that is spread the upper end counts, since a
// price that jumps from one width to the next cannot be planned with.

#ifndef TIDEGATE_SIMULATOR_RIVALS_TRUE_PRICES_H_
#define TIDEGATE_SIMULATOR_RIVALS_TRUE_PRICES_H_

#include <memory>

#include "tidegate/estimator.h"
#include "tidegate/simulator.h"

namespace tidegate::internal {

// `world.truth` must be set. The truth itself where it is wrong by nothing.
// Only for worlds that behave as the truth says (WorldAttention::kEstimator).
std::shared_ptr<const Estimator> TruePrices(const WorldOptions& world);

}  // namespace tidegate::internal

#endif  // TIDEGATE_SIMULATOR_RIVALS_TRUE_PRICES_H_
