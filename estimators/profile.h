// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What measured rows said about prices, in a file: `tidegate calibrate` writes
// it, `[estimator] use = "calibrated"` reads it. Per engine, model and route
//
//   transient = fixed + factor * static
//
// bounded by the static price on both sides as calibrator.h has it, whatever
// the file says.
//
// Thread-safety: pure functions on plain values.

#ifndef TIDEGATE_ESTIMATORS_PROFILE_H_
#define TIDEGATE_ESTIMATORS_PROFILE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "estimators/calibrator.h"
#include "tidegate/engine.h"
#include "tidegate/model_shape.h"
#include "tidegate/types.h"

namespace tidegate::internal {

// What a profile knows a model by: the widths that prices depend on, and not
// its number of layers, since transients are those of one layer at a time.
// "attention" for a shape that is one attention call.
std::string ModelKey(const ModelShape& shape);

// One fit, and how well it fitted.
struct ProfileEntry {
  std::string engine;
  std::string version;
  std::string device;
  std::string model;  // ModelKey()
  std::string route;  // Estimator::RouteName()
  Correction correction;

  // Where it comes from; nothing here decides anything.
  std::int64_t rows = 0;
  std::int64_t outliers = 0;  // of them, left out of the fit
  // measured / static, and fitted / measured, of the rows that were kept.
  double measured_p05 = 0;
  double measured_p50 = 0;
  double measured_p95 = 0;
  double fitted_p50 = 0;
  double fitted_p95 = 0;
  double fitted_max = 0;
  Bytes residual_max = 0;  // largest measured - fitted; negative: all are below
};

struct Profile {
  std::string date;  // as it was given; empty without one
  std::vector<std::string> files;
  std::vector<ProfileEntry> entries;
};

// InvalidArgument "FILE:LINE:COLUMN: KEY: expected …, got …".
absl::StatusOr<Profile> ParseProfile(std::string_view text,
                                     std::string_view file);
// TOML that ParseProfile() reads.
std::string WriteProfile(const Profile& profile);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_PROFILE_H_
