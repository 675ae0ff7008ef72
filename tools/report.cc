// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/report.h"

#include <cmath>

#include "estimators/text.h"
#include "tidegate/status.h"
#include "tools/report_assets.h"
#include "tools/summary.h"

namespace tidegate::tools {
namespace {

using internal::Concat;

std::string_view Asset(std::string_view file) {
  for (const internal::EmbeddedText& asset : internal::report_assets()) {
    if (asset.file == file) return asset.text;
  }
  TG_CHECK(false);
  return {};
}

// JSON that may stand in a script element: nothing in it can end the element
// or open a comment.
std::string ForScript(std::string_view json) {
  std::string safe;
  safe.reserve(json.size());
  for (const char c : json) {
    switch (c) {
      case '<':
        safe += "\\u003c";
        break;
      case '>':
        safe += "\\u003e";
        break;
      case '&':
        safe += "\\u0026";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string ForText(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '&':
        safe += "&amp;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

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
  for (const ReportRun& run : runs) {
    json.BeginObject();
    PutCurve("live", run.charts.live, json);
    PutCurve("peak", run.charts.peak, json);
    PutCurve("width", run.charts.width, json);
    PutCurve("ttft", run.charts.ttft, json);
    PutCurve("itl", run.charts.itl, json);
    json.End();
  }
  json.End();

  // One pass over the frame: what is put in is not searched again.
  std::string page;
  std::string_view frame = Asset("report.html");
  while (true) {
    const std::size_t open = frame.find("{{");
    page += frame.substr(0, open);
    if (open == std::string_view::npos) return page;
    const std::size_t close = frame.find("}}", open);
    TG_CHECK(close != std::string_view::npos);
    const std::string_view name = frame.substr(open + 2, close - open - 2);
    if (name == "title") {
      page += ForText(title);
    } else if (name == "data") {
      page += ForScript(json.ToLine());
    } else {
      page += Asset(name);
    }
    frame.remove_prefix(close + 2);
  }
}

}  // namespace tidegate::tools
