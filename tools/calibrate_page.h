// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What a calibration found, as JSON and as a page that draws fit and residuals.
// docs/calibration.md says what the page shows.

#ifndef TIDEGATE_TOOLS_CALIBRATE_PAGE_H_
#define TIDEGATE_TOOLS_CALIBRATE_PAGE_H_

#include <string>
#include <string_view>

#include "tools/calibrate.h"
#include "tools/output.h"

namespace tidegate::tools {

// `routes` and `refused`, into the object that is open.
void PutCalibrated(const Calibrated& calibrated, JsonWriter& json);

// The page. It needs no network and no other file; names may hold anything.
std::string CalibrationPage(std::string_view title,
                            const Calibrated& calibrated);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_CALIBRATE_PAGE_H_
