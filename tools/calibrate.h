// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// From measured rows to a profile.
//
//   TG_ASSIGN_OR_RETURN(auto rows, ReadCalibrationRows(files, {}, nullptr));
//   const Calibrated calibrated = Calibrate(rows);
//   WriteProfile(calibrated.profile);
//
// Rows come from the tables that `tidegate validate` reads, and from the event
// log of a run (`events.jsonl`): there a step's peak less what was live before
// it and what it added, where nothing else moved.

#ifndef TIDEGATE_TOOLS_CALIBRATE_H_
#define TIDEGATE_TOOLS_CALIBRATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "estimators/profile.h"
#include "estimators/profile_fit.h"
#include "tidegate/engine.h"
#include "tools/validate.h"

namespace tidegate {
class Estimator;
}

namespace tidegate::tools {

struct CalibrationRow {
  EngineSpec engine;
  std::string model;  // ModelKey()
  std::string label;  // what the table calls the model; may be empty
  std::string route;
  internal::MeasuredPrice price;
};

// What prices the steps of an event log: model and engine that ran.
struct CalibrationRun {
  const Estimator* estimator = nullptr;
  EngineSpec engine;
  std::string model;
};

// `run` may be null where no file is an event log. InvalidArgument names file,
// line and column or key.
absl::StatusOr<std::vector<CalibrationRow>> ReadCalibrationRows(
    const std::vector<std::string>& files, const ValidateOptions& options,
    const CalibrationRun* run);

struct RefusedFit {
  std::string engine;
  std::string model;
  std::string route;
  std::int64_t rows = 0;
  std::string reason;
};

// A row of a route that was fitted.
struct CalibratedRow {
  internal::MeasuredPrice price;
  Bytes fitted_bytes = 0;
  bool outlier = false;
};

struct Calibrated {
  internal::Profile profile;        // entries by engine, model and route
  std::vector<std::string> labels;  // per entry
  // Per entry, in the order in which they were read.
  std::vector<std::vector<CalibratedRow>> rows;
  std::vector<RefusedFit> refused;
  // CSV: engine, model, route, n, kv_len, static, measured and fitted bytes,
  // outlier. For plotting tools; ours is calibrate_page.h.
  std::string plot;
};

Calibrated Calibrate(const std::vector<CalibrationRow>& rows);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_CALIBRATE_H_
