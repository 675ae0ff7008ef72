// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// tidegate calibrate: measured rows into a profile.

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "estimators/profile.h"
#include "estimators/text.h"
#include "tidegate/status.h"
#include "tools/arguments.h"
#include "tools/calibrate.h"
#include "tools/inputs.h"
#include "tools/output.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::FormatBytes;
using internal::Grouped;
using internal::InvalidArgument;
using internal::ProfileEntry;

// A table of many models has many routes with few rows.
constexpr std::size_t kRefusedShown = 8;

std::string Short(double value, const char* format) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

double Factor(const ProfileEntry& entry) {
  return static_cast<double>(entry.correction.factor_65536) / 65536;
}

// YYYY-MM-DD, or empty. A date is given: the library reads no clock.
absl::Status CheckDate(const std::string& date) {
  const auto digit = [&](std::size_t i) {
    return date[i] >= '0' && date[i] <= '9';
  };
  bool good = date.empty() || date.size() == 10;
  for (std::size_t i = 0; good && i < date.size(); ++i) {
    good = i == 4 || i == 7 ? date[i] == '-' : digit(i);
  }
  if (good) return absl::OkStatus();
  return InvalidArgument("--date: expected YYYY-MM-DD, got \"", date, "\"");
}

absl::Status Write(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (out) return absl::OkStatus();
  return absl::UnknownError(Concat(path, ": cannot be written"));
}

// Whatever ran, by the static price: a profile is no correction of another.
absl::StatusOr<std::optional<CalibrationRun>> ReadRun(
    const Arguments& args, std::optional<Inputs>* inputs) {
  if (!args.policy.has_value() && !args.model.has_value() &&
      !args.engine.has_value()) {
    return std::optional<CalibrationRun>();
  }
  TG_ASSIGN_OR_RETURN(PolicyFile policy, MergePolicy(args));
  policy.estimator = "catalog";
  policy.profile.reset();
  TG_ASSIGN_OR_RETURN(*inputs, LoadInputs(std::move(policy)));
  return std::optional<CalibrationRun>(
      CalibrationRun{.estimator = (*inputs)->estimator.get(),
                     .engine = (*inputs)->engine,
                     .model = internal::ModelKey((*inputs)->shape)});
}

std::string ToText(const Calibrated& calibrated, const std::string& path,
                   const std::string& plot) {
  TextTable table(
      {"model", "route", "rows", "outliers", "factor", "fixed",
       "measured/price", "fitted/measured p95", "max"},
      {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight,
       Align::kRight, Align::kRight, Align::kRight, Align::kRight});
  for (std::size_t i = 0; i < calibrated.profile.entries.size(); ++i) {
    const ProfileEntry& entry = calibrated.profile.entries[i];
    table.Add({calibrated.labels[i], entry.route, Grouped(entry.rows),
               Grouped(entry.outliers), Short(Factor(entry), "%.4f"),
               FormatBytes(entry.correction.fixed),
               Concat(Short(entry.measured_p05, "%.3f"), " to ",
                      Short(entry.measured_p95, "%.3f")),
               Short(entry.fitted_p95, "%.4f"),
               Short(entry.fitted_max, "%.4f")});
  }
  std::string text = table.ToString();
  if (!calibrated.refused.empty()) text += "\nnot fitted:\n";
  for (std::size_t i = 0; i < calibrated.refused.size(); ++i) {
    if (i == kRefusedShown) {
      text += Concat("  and ", calibrated.refused.size() - i,
                     " more: --json lists them\n");
      break;
    }
    const RefusedFit& refused = calibrated.refused[i];
    text += Concat("  ", refused.engine, " (", refused.model, ") ",
                   refused.route, ": ", refused.reason, "\n");
  }
  text += Concat("\n", path, ": ", calibrated.profile.entries.size(),
                 calibrated.profile.entries.size() == 1 ? " route" : " routes",
                 "\n", plot, ": rows, fit and residuals, to plot\n");
  return text;
}

std::string ToJson(const Calibrated& calibrated, const std::string& path,
                   const std::string& plot) {
  JsonWriter json;
  json.Put("profile", std::string_view(path));
  json.Put("plot", std::string_view(plot));
  json.BeginArray("routes");
  for (std::size_t i = 0; i < calibrated.profile.entries.size(); ++i) {
    const ProfileEntry& entry = calibrated.profile.entries[i];
    json.BeginObject();
    json.Put("engine", std::string_view(entry.engine));
    json.Put("version", std::string_view(entry.version));
    json.Put("device", std::string_view(entry.device));
    json.Put("model", std::string_view(entry.model));
    json.Put("label", std::string_view(calibrated.labels[i]));
    json.Put("route", std::string_view(entry.route));
    json.Put("rows", entry.rows);
    json.Put("outliers", entry.outliers);
    json.Put("factor", Factor(entry));
    json.Put("fixed_bytes", entry.correction.fixed);
    json.Put("fitted_p50", entry.fitted_p50);
    json.Put("fitted_p95", entry.fitted_p95);
    json.Put("fitted_max", entry.fitted_max);
    json.Put("residual_max_bytes", entry.residual_max);
    json.End();
  }
  json.End();
  json.BeginArray("refused");
  for (const RefusedFit& refused : calibrated.refused) {
    json.BeginObject();
    json.Put("engine", std::string_view(refused.engine));
    json.Put("model", std::string_view(refused.model));
    json.Put("route", std::string_view(refused.route));
    json.Put("rows", refused.rows);
    json.Put("reason", std::string_view(refused.reason));
    json.End();
  }
  json.End();
  return json.ToString();
}

}  // namespace

absl::StatusOr<int> RunCalibrate(const Arguments& args, Streams& io) {
  if (!args.out.has_value()) {
    return InvalidArgument("missing --out: where the profile is written");
  }
  TG_RETURN_IF_ERROR(CheckDate(args.date.value_or("")));
  ValidateOptions options;
  options.with_scratch = args.with_scratch;
  if (args.catalogue.has_value()) {
    TG_ASSIGN_OR_RETURN(options.catalogue, ReadFile(*args.catalogue));
    options.catalogue_file = *args.catalogue;
  }
  std::optional<Inputs> inputs;
  TG_ASSIGN_OR_RETURN(const std::optional<CalibrationRun> run,
                      ReadRun(args, &inputs));
  if (inputs.has_value()) PrintWarnings(inputs->warnings, io.err);
  TG_ASSIGN_OR_RETURN(const std::vector<CalibrationRow> rows,
                      ReadCalibrationRows(args.files, options,
                                          run.has_value() ? &*run : nullptr));
  Calibrated calibrated = Calibrate(rows);
  if (calibrated.profile.entries.empty()) {
    const RefusedFit& first = calibrated.refused.front();
    return InvalidArgument(
        "no route can be fitted: ", first.route, " of ", first.model, ": ",
        first.reason,
        calibrated.refused.size() > 1
            ? Concat(", and ", calibrated.refused.size() - 1, " more")
            : "");
  }
  calibrated.profile.date = args.date.value_or("");
  for (const std::string& file : args.files) {
    // Names alone: where they lay is nobody else's business.
    calibrated.profile.files.push_back(
        std::filesystem::path(file).filename().string());
  }
  const std::string plot =
      std::filesystem::path(*args.out).replace_extension(".plot.csv").string();
  TG_RETURN_IF_ERROR(
      Write(*args.out, internal::WriteProfile(calibrated.profile)));
  TG_RETURN_IF_ERROR(Write(plot, calibrated.plot));
  io.out << (args.json ? ToJson(calibrated, *args.out, plot)
                       : ToText(calibrated, *args.out, plot));
  return kExitDone;
}

}  // namespace tidegate::tools
