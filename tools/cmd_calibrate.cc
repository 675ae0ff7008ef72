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
#include "tools/calibrate_page.h"
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

// What is written: the profile, and beside it the rows as a table and a page.
struct Paths {
  std::string profile;
  std::string plot;
  std::string page;
};

absl::StatusOr<Paths> PathsOf(const std::string& out) {
  const auto beside = [&out](const char* extension) {
    return std::filesystem::path(out).replace_extension(extension).string();
  };
  Paths paths{
      .profile = out, .plot = beside(".plot.csv"), .page = beside(".html")};
  if (paths.page == out) {
    return InvalidArgument("--out: expected the name of the profile, such as ",
                           beside(".toml"),
                           ", got that of the page beside it, \"", out, "\"");
  }
  return paths;
}

std::string ToText(const Calibrated& calibrated, const Paths& paths) {
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
  text +=
      Concat("\n", paths.profile, ": ", calibrated.profile.entries.size(),
             calibrated.profile.entries.size() == 1 ? " route\n" : " routes\n",
             paths.page, ": fit and residuals, drawn\n", paths.plot,
             ": the same rows as a table\n");
  return text;
}

std::string ToJson(const Calibrated& calibrated, const Paths& paths) {
  JsonWriter json;
  json.Put("profile", paths.profile);
  json.Put("plot", paths.plot);
  json.Put("page", paths.page);
  PutCalibrated(calibrated, json);
  return json.ToString();
}

}  // namespace

absl::StatusOr<int> RunCalibrate(const Arguments& args, Streams& io) {
  if (!args.out.has_value()) {
    return InvalidArgument("missing --out: where the profile is written");
  }
  TG_ASSIGN_OR_RETURN(const Paths paths, PathsOf(*args.out));
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
  const std::string title =
      Concat("Calibration: ",
             std::filesystem::path(paths.profile).filename().string());
  TG_RETURN_IF_ERROR(
      Write(paths.profile, internal::WriteProfile(calibrated.profile)));
  TG_RETURN_IF_ERROR(Write(paths.plot, calibrated.plot));
  TG_RETURN_IF_ERROR(Write(paths.page, CalibrationPage(title, calibrated)));
  io.out << (args.json ? ToJson(calibrated, paths) : ToText(calibrated, paths));
  return kExitDone;
}

}  // namespace tidegate::tools
