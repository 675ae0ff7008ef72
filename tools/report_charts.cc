// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// From a simulation to the curves of the report, thinned out.

#include <algorithm>
#include <cmath>
#include <utility>

#include "tools/report.h"

namespace tidegate::tools {
namespace {

double Seconds(Instant when) {
  return static_cast<double>(when.time_since_epoch().count()) * 1e-9;
}

Curve Thinned(const std::vector<double>& x, const std::vector<double>& y,
              std::size_t points) {
  Curve curve;
  for (const std::size_t at : MinMaxPositions(y, points)) {
    curve.x.push_back(x[at]);
    curve.y.push_back(y[at]);
  }
  return curve;
}

// Share of the values that are no higher, at evenly spaced ranks; both ends
// are kept.
Curve Distribution(std::vector<double> values, std::size_t points) {
  Curve curve;
  if (values.empty()) return curve;
  std::sort(values.begin(), values.end());
  const std::size_t count = values.size();
  const std::size_t steps = std::min(points, count);
  for (std::size_t i = 0; i < steps; ++i) {
    const std::size_t rank = steps == 1 ? 0 : i * (count - 1) / (steps - 1);
    curve.x.push_back(values[rank]);
    curve.y.push_back(static_cast<double>(rank + 1) /
                      static_cast<double>(count));
  }
  return curve;
}

}  // namespace

std::vector<std::size_t> MinMaxPositions(std::span<const double> y,
                                         std::size_t points) {
  std::vector<std::size_t> kept;
  if (y.size() <= points) {
    for (std::size_t i = 0; i < y.size(); ++i) kept.push_back(i);
    return kept;
  }
  const auto keep = [&kept](std::size_t at) {
    if (kept.empty() || kept.back() < at) kept.push_back(at);
  };
  keep(0);
  // Two points a stretch, and the ends.
  const std::size_t stretches = points > 4 ? (points - 2) / 2 : 1;
  for (std::size_t i = 0; i < stretches; ++i) {
    const auto from =
        y.begin() + static_cast<std::ptrdiff_t>(i * y.size() / stretches);
    const auto to =
        y.begin() + static_cast<std::ptrdiff_t>((i + 1) * y.size() / stretches);
    const auto [low, high] = std::minmax_element(from, to);
    const auto first =
        static_cast<std::size_t>(std::min(low, high) - y.begin());
    const auto second =
        static_cast<std::size_t>(std::max(low, high) - y.begin());
    keep(first);
    keep(second);
  }
  keep(y.size() - 1);
  return kept;
}

Charts MakeCharts(const SimulationResult& result, std::size_t points) {
  Charts charts;
  std::vector<double> when;
  std::vector<double> live;
  std::vector<double> peak;
  std::vector<double> width;
  for (const SeriesPoint& point : result.series) {
    when.push_back(Seconds(point.when));
    live.push_back(static_cast<double>(point.live_bytes));
    peak.push_back(static_cast<double>(point.peak_bytes));
    width.push_back(static_cast<double>(point.width));
  }
  charts.live = Thinned(when, live, points);
  charts.peak = Thinned(when, peak, points);
  charts.width = Thinned(when, width, points);
  std::vector<double> ttft;
  std::vector<double> itl;
  for (const RequestRecord& record : result.records) {
    if (record.ttft_s.has_value()) ttft.push_back(*record.ttft_s);
    if (record.itl_s.has_value()) itl.push_back(*record.itl_s);
  }
  charts.ttft = Distribution(std::move(ttft), points);
  charts.itl = Distribution(std::move(itl), points);
  return charts;
}

}  // namespace tidegate::tools
