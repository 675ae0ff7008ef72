// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Fits a correction to the measured rows of one route of one model.
//
// The rule, in this order:
//   1. Rows that lie far above the line that most rows follow (the median
//      slope between pairs: Theil, 1950; Sen, 1968) are outliers while they
//      are few.
//   2. Among lines fixed + factor * static within the calibrator's bounds,
//      those count that leave at most one row in two hundred further below
//      its measurement than an allocator rounds: one from 20 rows on, so that
//      no row alone decides, and none where rows are fewer. Lines below
//      the static price must be above every row with a margin, and need more
//      rows.
//   3. Of them the one with the lowest 95th percentile of fitted / measured is
//      taken; the static price itself, unless another is clearly better.
//
// Pure functions; floating point decides here and nowhere in the core.

#ifndef TIDEGATE_ESTIMATORS_PROFILE_FIT_H_
#define TIDEGATE_ESTIMATORS_PROFILE_FIT_H_

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "estimators/calibrator.h"
#include "estimators/profile.h"
#include "tidegate/types.h"

namespace tidegate::internal {

struct MeasuredPrice {
  Tokens n = 0;
  Tokens kv_len = 0;
  Bytes static_bytes = 0;
  Bytes measured_bytes = 0;
};

struct ProfileFit {
  // Correction and statistics; names and places are the caller's.
  ProfileEntry entry;
  std::vector<bool> outlier;  // per row
};

// Fewer rows of a route say too little to move its price.
inline constexpr std::size_t kProfileRowsMin = 8;

// FailedPrecondition with the reason: too few rows, rows that contradict each
// other, or rows that do not follow the price at all.
absl::StatusOr<ProfileFit> FitProfile(std::span<const MeasuredPrice> rows);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_PROFILE_FIT_H_
