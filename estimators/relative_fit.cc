// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/relative_fit.h"

#include <algorithm>

namespace tidegate::internal {

FeatureRow FitRelative(std::span<const FitSample> samples, int start,
                       int rounds) {
  std::array<FeatureRow, kFeatures> gram{};
  FeatureRow target{};
  for (const FitSample& sample : samples) {
    const double weight = 1 / (sample.value * sample.value);
    for (int i = 0; i < kFeatures; ++i) {
      target[i] += weight * sample.features[i] * sample.value;
      for (int j = 0; j < kFeatures; ++j) {
        gram[i][j] += weight * sample.features[i] * sample.features[j];
      }
    }
  }
  FeatureRow x{};
  x[start] = gram[start][start] > 0 ? target[start] / gram[start][start] : 0;
  // A round that changes nothing is followed by others that do not either.
  bool moved = true;
  for (int round = 0; round < rounds && moved; ++round) {
    moved = false;
    for (int i = 0; i < kFeatures; ++i) {
      if (gram[i][i] <= 0) continue;
      double rest = target[i];
      for (int j = 0; j < kFeatures; ++j) {
        if (j != i) rest -= gram[i][j] * x[j];
      }
      const double next = std::max(0.0, rest / gram[i][i]);
      moved = moved || next != x[i];
      x[i] = next;
    }
  }
  return x;
}

double Dot(const FeatureRow& x, const FeatureRow& features) {
  double sum = 0;
  for (int i = 0; i < kFeatures; ++i) sum += x[i] * features[i];
  return sum;
}

FeatureRow ChunkFeatures(double n, double before) {
  return {1, before, n, 2 * before * n + n * n};
}

}  // namespace tidegate::internal
