// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/measured_grid.h"

#include <algorithm>

#include "tidegate/status.h"

namespace tidegate::internal {

MeasuredGrid::MeasuredGrid(const std::map<GridPoint, double>& values) {
  std::map<Tokens, std::map<GridPoint, double>> rows;
  for (const auto& [point, value] : values) {
    TG_CHECK(!point.empty());
    if (point.size() == 1) {
      keys_.push_back(static_cast<double>(point[0]));
      leaves_.push_back(value);
    } else {
      rows[point[0]].emplace(GridPoint(point.begin() + 1, point.end()), value);
    }
  }
  for (const auto& [key, row] : rows) {
    keys_.push_back(static_cast<double>(key));
    children_.emplace_back(row);
  }
}

MeasuredGrid::Answer MeasuredGrid::Below(std::size_t index,
                                         std::span<const double> rest) const {
  if (children_.empty()) return {.value = leaves_[index]};
  return children_[index].At(rest);
}

MeasuredGrid::Answer MeasuredGrid::At(std::span<const double> point) const {
  TG_CHECK(!empty() && !point.empty());
  const double x = point[0];
  const std::span<const double> rest = point.subspan(1);
  const auto above = std::upper_bound(keys_.begin(), keys_.end(), x);
  const auto at = static_cast<std::size_t>(above - keys_.begin());
  if (above == keys_.begin() || keys_[at - 1] == x || above == keys_.end()) {
    const bool exact = at > 0 && keys_[at - 1] == x;
    Answer answer = Below(at > 0 ? at - 1 : 0, rest);
    answer.inside = answer.inside && exact;
    return answer;
  }
  const Answer low = Below(at - 1, rest);
  const Answer high = Below(at, rest);
  const double weight = (x - keys_[at - 1]) / (keys_[at] - keys_[at - 1]);
  return {.value = low.value + weight * (high.value - low.value),
          .inside = low.inside && high.inside};
}

}  // namespace tidegate::internal
