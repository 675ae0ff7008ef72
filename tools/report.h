// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// report.html: what came of one or more simulations, as one page that needs no
// network and no other file. docs/simulation.md says what it shows.

#ifndef TIDEGATE_TOOLS_REPORT_H_
#define TIDEGATE_TOOLS_REPORT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tidegate/plugins.h"
#include "tidegate/simulator.h"
#include "tools/output.h"

namespace tidegate::tools {

// A line of a chart.
struct Curve {
  std::vector<double> x;
  std::vector<double> y;
};

// What the charts draw of one run, thinned out for display.
struct Charts {
  Curve live;   // seconds -> bytes
  Curve peak;   // seconds -> bytes
  Curve width;  // seconds -> tokens
  Curve ttft;   // seconds -> share of finished requests, ascending
  Curve itl;    // the same of mean times between output tokens
};

// Points a curve for a page with one run; pages with many runs take fewer.
inline constexpr std::size_t kChartPoints = 2000;

// At most `points` positions of `y`, ascending, so that a curve through them
// shows every extreme of its surroundings: the lowest and the highest of each
// stretch, and both ends.
std::vector<std::size_t> MinMaxPositions(std::span<const double> y,
                                         std::size_t points);

// At most `points` points a curve.
Charts MakeCharts(const SimulationResult& result, std::size_t points);

// One row of the table and one line in each chart.
struct ReportRun {
  std::string policy;
  std::string trace;
  double load = 1;
  std::int64_t seed = 0;
  Bytes ceiling_bytes = 0;
  // Absent where the run failed; its series and records are not needed.
  std::optional<SimulationResult> result;
  std::string error;
  std::vector<PluginReport> plugins;
  Charts charts;
};

// policy, trace, ceiling_bytes, load, seed, then simulate's fields or `error`,
// and `plugins`.
void PutRun(const ReportRun& run, JsonWriter& json);

// The curves as `key`: live, peak, width, ttft, itl, each a list of [x, y].
void PutCharts(std::string_view key, const Charts& charts, JsonWriter& json);

// The page. Names and messages may hold anything.
std::string ReportPage(std::string_view title, std::span<const ReportRun> runs);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_REPORT_H_
