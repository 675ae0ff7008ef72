// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What was learned about prices, to look at, to save and to load.
//
//   std::vector<CalibrationRoute> learned = scheduler->Calibration();
//   …                                      // written and read by the host
//   scheduler->LoadCalibration(learned);   // in the next process
//
// Plain values: the library chooses no file format.

#ifndef TIDEGATE_CALIBRATION_H_
#define TIDEGATE_CALIBRATION_H_

#include <string>
#include <vector>

#include "tidegate/types.h"

namespace tidegate {

// One measured chunk.
struct CalibrationSample {
  Bytes static_bytes = 0;    // transient as the estimator priced it
  Bytes measured_bytes = 0;  // transient as it was measured
  Duration age{};            // since then; old samples expire
  friend bool operator==(const CalibrationSample&,
                         const CalibrationSample&) = default;
};

// The samples of one route, oldest first, and what follows from them:
// transient = fixed_bytes + static * factor_65536 / 65536, within bounds.
struct CalibrationRoute {
  std::string route;  // Estimator::RouteName
  std::vector<CalibrationSample> samples;
  // Not read when a calibration is loaded: it follows from the samples.
  Bytes fixed_bytes = 0;
  std::int64_t factor_65536 = 65536;
  friend bool operator==(const CalibrationRoute&,
                         const CalibrationRoute&) = default;
};

}  // namespace tidegate

#endif  // TIDEGATE_CALIBRATION_H_
