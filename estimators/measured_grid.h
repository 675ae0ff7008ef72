// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Numbers on a grid that need not be full: interpolated along each axis in
// turn.
//
// The grid is a tree: the values of the first axis, below each the values of
// the second that were measured with it, and so on. So a row that was measured
// up to another length than its neighbour is no special case.

#ifndef TIDEGATE_ESTIMATORS_MEASURED_GRID_H_
#define TIDEGATE_ESTIMATORS_MEASURED_GRID_H_

#include <map>
#include <span>
#include <vector>

#include "tidegate/types.h"

namespace tidegate::internal {

using GridPoint = std::vector<Tokens>;

class MeasuredGrid {
 public:
  MeasuredGrid() = default;
  // Points of equal dimension, at least one.
  explicit MeasuredGrid(const std::map<GridPoint, double>& values);

  bool empty() const { return keys_.empty(); }

  struct Answer {
    double value = 0;
    bool inside = true;
  };
  // Linear between the two neighbours on each axis; the nearest value outside.
  Answer At(std::span<const double> point) const;

 private:
  std::vector<double> keys_;            // ascending
  std::vector<double> leaves_;          // on the last axis
  std::vector<MeasuredGrid> children_;  // elsewhere
  Answer Below(std::size_t index, std::span<const double> rest) const;
};

}  // namespace tidegate::internal

#endif  // TIDEGATE_ESTIMATORS_MEASURED_GRID_H_
