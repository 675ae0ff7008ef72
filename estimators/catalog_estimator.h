// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Which law prices a model on an engine that the catalogue knows.

#ifndef TIDEGATE_ESTIMATORS_CATALOG_ESTIMATOR_H_
#define TIDEGATE_ESTIMATORS_CATALOG_ESTIMATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "tidegate/catalogue.h"
#include "tidegate/estimator.h"

namespace tidegate::internal {

// `engine` comes from `catalogue`. `options.shape` must be valid.
absl::StatusOr<std::unique_ptr<Estimator>> CreateCatalogEstimator(
    const Catalogue& catalogue, const ResolvedEngine& engine,
    const EstimatorOptions& options);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_CATALOG_ESTIMATOR_H_
