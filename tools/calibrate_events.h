// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Measured steps of a run, from its event log (docs/simulation.md).

#ifndef TIDEGATE_TOOLS_CALIBRATE_EVENTS_H_
#define TIDEGATE_TOOLS_CALIBRATE_EVENTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/calibrate.h"

namespace tidegate::tools {

// Appends steps of one chunk whose end states a peak and live bytes that moved
// by the step's own growth alone, and `observe` events. `run` prices them; an
// error without one.
absl::Status ReadCalibrationEvents(const std::string& file,
                                   const CalibrationRun* run,
                                   std::vector<CalibrationRow>* rows);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_CALIBRATE_EVENTS_H_
