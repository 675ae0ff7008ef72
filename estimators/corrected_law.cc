// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/corrected_law.h"

#include <algorithm>
#include <array>

#include "tidegate/status.h"

namespace tidegate::internal {
namespace {

constexpr int kPerToken = 2;
// A profile is read once: more rounds than an online fit can afford.
constexpr int kRounds = 4000;
// A law that charges next to nothing somewhere must not make a correction
// without bound there.
constexpr double kLeastShare = 1e-3;

}  // namespace

double MedianOf(std::vector<double> values) {
  TG_CHECK(!values.empty());
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

CorrectedLaw::CorrectedLaw(const Measured& measured, FeaturesOf features)
    : features_(features) {
  if (measured.empty()) return;
  axes_ = measured.begin()->first.size();
  const auto coordinate = [](const GridPoint& point, std::size_t axis) {
    return axis < point.size() ? static_cast<double>(point[axis]) : 0.0;
  };
  std::vector<FitSample> samples;
  for (const auto& [point, values] : measured) {
    samples.push_back({features(coordinate(point, 0), coordinate(point, 1)),
                       MedianOf(values)});
  }
  law_ = FitRelative(samples, kPerToken, kRounds);
  least_ = std::min_element(
               samples.begin(), samples.end(),
               [](const auto& a, const auto& b) { return a.value < b.value; })
               ->value;
  base_ = std::min(law_[0], least_);
  std::map<GridPoint, double> corrections;
  std::size_t i = 0;
  for (const auto& [point, values] : measured) {
    corrections[point] =
        samples[i++].value / Law(coordinate(point, 0), coordinate(point, 1));
  }
  correction_ = MeasuredGrid(corrections);
}

double CorrectedLaw::Law(double first, double second) const {
  return std::max(Dot(law_, features_(first, second)), kLeastShare * least_);
}

CorrectedLaw::Answer CorrectedLaw::At(double first, double second) const {
  const std::array<double, 2> point = {first, second};
  const MeasuredGrid::Answer correction =
      correction_.At(std::span(point).first(axes_));
  return {Law(first, second) * correction.value, correction.inside};
}

}  // namespace tidegate::internal
