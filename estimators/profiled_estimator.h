// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Another estimator's prices, corrected by a profile. The correction is the one
// that a run's own measurements would give (calibrated_estimator.h), but fixed.

#ifndef TIDEGATE_ESTIMATORS_PROFILED_ESTIMATOR_H_
#define TIDEGATE_ESTIMATORS_PROFILED_ESTIMATOR_H_

#include <memory>
#include <string>
#include <vector>

#include "estimators/profile.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {

// Takes the entries of this engine, device and model. Where the profile has
// none, or only of another version, prices stay as they are and a warning says
// what the profile does have.
std::unique_ptr<Estimator> CreateProfiledEstimator(
    std::unique_ptr<Estimator> base, const Profile& profile,
    const ModelShape& shape, const ResolvedEngine& engine,
    std::vector<std::string>* warnings);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_PROFILED_ESTIMATOR_H_
