// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// A law fitted to measured rows, times what the rows measured beyond it.

#ifndef TIDEGATE_ESTIMATORS_CORRECTED_LAW_H_
#define TIDEGATE_ESTIMATORS_CORRECTED_LAW_H_

#include <map>
#include <vector>

#include "estimators/measured_grid.h"
#include "estimators/relative_fit.h"

namespace tidegate::internal {

// Features of a point of one or two coordinates.
using FeaturesOf = FeatureRow (*)(double first, double second);

// Measured values of one point of a grid; several where it was repeated.
using Measured = std::map<GridPoint, std::vector<double>>;

// The middle one, the lower of two: a stall of the host does not move it.
double MedianOf(std::vector<double> values);

class CorrectedLaw {
 public:
  CorrectedLaw() = default;
  CorrectedLaw(const Measured& measured, FeaturesOf features);

  bool empty() const { return correction_.empty(); }
  struct Answer {
    double value = 0;
    bool inside = true;
  };
  Answer At(double first, double second) const;
  // The law alone.
  double Law(double first, double second) const;
  // What the law charges for nothing at all, at most the least measured.
  double base() const { return base_; }

 private:
  FeaturesOf features_ = nullptr;
  FeatureRow law_{};
  double least_ = 0;
  double base_ = 0;
  std::size_t axes_ = 2;
  MeasuredGrid correction_;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_CORRECTED_LAW_H_
