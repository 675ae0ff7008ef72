// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Least squares on relative errors with coefficients that are not negative.
//
// Times grow in everything that a step has more of: a negative coefficient
// would be an artefact of noise that ruins what lies outside the samples.

#ifndef TIDEGATE_ESTIMATORS_RELATIVE_FIT_H_
#define TIDEGATE_ESTIMATORS_RELATIVE_FIT_H_

#include <array>
#include <span>

namespace tidegate::internal {

inline constexpr int kFeatures = 4;
using FeatureRow = std::array<double, kFeatures>;

struct FitSample {
  FeatureRow features{};
  double value = 0;  // above 0
};

// The coefficients x, by coordinate descent on the normal equations, begun at
// "all cost by feature `start`": samples that cannot tell two features apart
// are given to that one. A feature that is 0 in every sample gets 0.
FeatureRow FitRelative(std::span<const FitSample> samples, int start,
                       int rounds);

double Dot(const FeatureRow& x, const FeatureRow& features);

// 1, K, n and 2*K*n + n*n: what a chunk of n tokens behind K earlier ones
// costs (include/tidegate/time_model.h).
FeatureRow ChunkFeatures(double n, double before);

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_RELATIVE_FIT_H_
