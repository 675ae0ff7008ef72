// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/report.h"

#include <cmath>

#include "tools/report_page.h"
#include "tools/summary.h"

namespace tidegate::tools {
namespace {

// A pixel is a thousandth of a chart: seven digits are more than it shows.
double Rounded(double value) {
  if (value == 0 || !std::isfinite(value)) return value;
  const double unit =
      std::pow(10.0, 6 - std::floor(std::log10(std::fabs(value))));
  if (!std::isfinite(unit) || unit <= 0) return value;
  return std::round(value * unit) / unit;
}

void PutCurve(std::string_view key, const Curve& curve, JsonWriter& json) {
  json.BeginArray(key);
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    json.BeginArray("");
    json.Put("", Rounded(curve.x[i]));
    json.Put("", Rounded(curve.y[i]));
    json.End();
  }
  json.End();
}

}  // namespace

void PutRun(const ReportRun& run, JsonWriter& json) {
  json.Put("policy", run.policy);
  json.Put("trace", run.trace);
  json.Put("ceiling_bytes", run.ceiling_bytes);
  json.Put("load", run.load);
  json.Put("seed", run.seed);
  if (run.result.has_value()) {
    PutSummary(*run.result, json);
  } else {
    json.Put("error", run.error);
  }
  PutPlugins(run.plugins, json);
}

void PutCharts(std::string_view key, const Charts& charts, JsonWriter& json) {
  json.BeginObject(key);
  PutCurve("live", charts.live, json);
  PutCurve("peak", charts.peak, json);
  PutCurve("width", charts.width, json);
  PutCurve("ttft", charts.ttft, json);
  PutCurve("itl", charts.itl, json);
  json.End();
}

std::string ReportPage(std::string_view title,
                       std::span<const ReportRun> runs) {
  JsonWriter json;
  json.BeginArray("runs");
  for (const ReportRun& run : runs) {
    json.BeginObject();
    PutRun(run, json);
    json.End();
  }
  json.End();
  json.BeginArray("charts");
  for (const ReportRun& run : runs) PutCharts("", run.charts, json);
  json.End();
  return FillPage("report.html", title, json.ToLine());
}

}  // namespace tidegate::tools
