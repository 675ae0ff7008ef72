// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include <string>
#include <string_view>
#include <vector>

#include "estimators/text.h"
#include "tidegate/plugins.h"

namespace tidegate {

using internal::Concat;
using internal::Grouped;

std::vector<std::string> PluginWarnings(std::span<const PluginReport> reports) {
  std::vector<std::string> warnings;
  for (const PluginReport& report : reports) {
    // A few slow calls are the machine's.
    if (report.faults == 0 && report.slow_calls < kPluginFaultsMax) continue;
    std::string text =
        Concat(report.kind, " plug-in ", report.name, " ", report.version, ": ",
               Grouped(report.faults), " of ", Grouped(report.calls),
               report.replaced ? " calls failed and " : " calls failed, and ",
               report.fallback,
               report.replaced ? " has replaced it" : " answered instead");
    if (!report.first_fault.empty()) {
      text += Concat("; first: ", report.first_fault);
    }
    if (report.slow_calls > 0) {
      text += Concat("; ", Grouped(report.slow_calls),
                     " slow calls, the slowest took ",
                     Grouped(report.slowest.count() / 1000), " us");
    }
    warnings.push_back(std::move(text));
  }
  return warnings;
}

std::string PluginMetricsText(std::span<const PluginReport> reports) {
  if (reports.empty()) return "";
  std::string text;
  const auto family = [&](std::string_view name, std::string_view type,
                          std::string_view help, const auto& value) {
    text += Concat("# HELP tidegate_plugin_", name, " ", help,
                   "\n# TYPE tidegate_plugin_", name, " ", type, "\n");
    for (const PluginReport& report : reports) {
      // Names and versions have no character that a label would escape but for
      // these two.
      std::string version;
      for (const char c : report.version) {
        if (c == '"' || c == '\\') version += '\\';
        version += c;
      }
      text += Concat("tidegate_plugin_", name, "{kind=\"", report.kind,
                     "\",plugin=\"", report.name, "\",version=\"", version,
                     "\"} ", value(report), "\n");
    }
  };
  family("calls_total", "counter", "Calls of a plug-in.",
         [](const PluginReport& r) { return r.calls; });
  family("faults_total", "counter", "Answers of a plug-in that were overruled.",
         [](const PluginReport& r) { return r.faults; });
  family("slow_calls_total", "counter", "Timed calls beyond the limit.",
         [](const PluginReport& r) { return r.slow_calls; });
  family("replaced", "gauge", "1 where a built-in has replaced it for good.",
         [](const PluginReport& r) { return r.replaced ? 1 : 0; });
  return text;
}

}  // namespace tidegate
