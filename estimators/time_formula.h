// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#ifndef TIDEGATE_ESTIMATORS_TIME_FORMULA_H_
#define TIDEGATE_ESTIMATORS_TIME_FORMULA_H_

#include <span>

#include "tidegate/estimator.h"
#include "tidegate/time_model.h"
#include "tidegate/types.h"

namespace tidegate::internal {

struct TimedChunk {
  Chunk chunk;
  Duration took{};  // above zero
};

// The model nearest to all samples, relative errors alike.
TimeModel FitTimeModel(std::span<const TimedChunk> samples);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_TIME_FORMULA_H_
