// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/calibrate.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"
#include "tools/calibrate_events.h"
#include "tools/validate_rows.h"

namespace tidegate::tools {

using internal::Concat;
using internal::FitProfile;
using internal::InvalidArgument;
using internal::MeasuredPrice;
using internal::ProfileEntry;
using internal::ProfileFit;

namespace {

std::string CsvField(std::string_view text) {
  if (text.find_first_of(",\"\n") == std::string_view::npos) {
    return std::string(text);
  }
  std::string field = "\"";
  for (const char c : text) {
    if (c == '"') field += '"';
    field += c;
  }
  return field + "\"";
}

std::vector<CalibratedRow> FittedRows(const std::vector<MeasuredPrice>& rows,
                                      const ProfileFit& fit) {
  std::vector<CalibratedRow> fitted;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    fitted.push_back(
        {.price = rows[i],
         .fitted_bytes = fit.entry.correction.Apply(rows[i].static_bytes),
         .outlier = fit.outlier[i]});
  }
  return fitted;
}

void AddPlotRows(const std::string& engine, const CalibrationRow& like,
                 const std::vector<CalibratedRow>& rows, std::string* plot) {
  for (const CalibratedRow& row : rows) {
    *plot += Concat(CsvField(engine), ",", CsvField(like.model), ",",
                    CsvField(like.route), ",", row.price.n, ",",
                    row.price.kv_len, ",", row.price.static_bytes, ",",
                    row.price.measured_bytes, ",", row.fitted_bytes, ",",
                    row.fitted_bytes - row.price.measured_bytes, ",",
                    row.outlier ? "1" : "0", "\n");
  }
}

}  // namespace

absl::StatusOr<std::vector<CalibrationRow>> ReadCalibrationRows(
    const std::vector<std::string>& files, const ValidateOptions& options,
    const CalibrationRun* run) {
  if (files.empty()) {
    return InvalidArgument(
        "nothing to calibrate on: expected a table of measured rows, or the "
        "events.jsonl of a run");
  }
  std::vector<CalibrationRow> rows;
  EstimatorCache cache(options);
  for (const std::string& file : files) {
    if (file.ends_with(".jsonl")) {
      TG_RETURN_IF_ERROR(ReadCalibrationEvents(file, run, &rows));
      continue;
    }
    TG_RETURN_IF_ERROR(JudgeFile(
        file, options, cache, [&](const JudgedRow& judged, std::size_t) {
          if (judged.outcome != RowOutcome::kPriced || judged.route.empty()) {
            return;
          }
          // What is measured holds the growth; the rest is the transient.
          const Bytes resident = judged.price - judged.transient;
          rows.push_back({.engine = judged.spec,
                          .model = judged.model,
                          .label = judged.label,
                          .route = judged.route,
                          .price = {.n = judged.n,
                                    .kv_len = judged.kv_len,
                                    .static_bytes = judged.transient,
                                    .measured_bytes = std::max<Bytes>(
                                        0, judged.measured - resident)}});
        }));
  }
  if (rows.empty()) {
    return InvalidArgument(files.front(),
                           ": expected rows with a price and a measurement, "
                           "got none");
  }
  return rows;
}

Calibrated Calibrate(const std::vector<CalibrationRow>& rows) {
  std::map<std::tuple<std::string, std::string, std::string>,
           std::vector<const CalibrationRow*>>
      groups;
  for (const CalibrationRow& row : rows) {
    groups[{EngineName(row.engine), row.model, row.route}].push_back(&row);
  }
  Calibrated calibrated;
  calibrated.plot =
      "engine,model,route,n,kv_len,static_bytes,measured_bytes,fitted_bytes,"
      "residual_bytes,outlier\n";
  for (const auto& [key, group] : groups) {
    std::vector<MeasuredPrice> prices;
    std::vector<std::string> labels;
    for (const CalibrationRow* row : group) {
      prices.push_back(row->price);
      if (!row->label.empty() &&
          std::find(labels.begin(), labels.end(), row->label) == labels.end()) {
        labels.push_back(row->label);
      }
    }
    const CalibrationRow& like = *group.front();
    absl::StatusOr<ProfileFit> fit = FitProfile(prices);
    if (!fit.ok()) {
      calibrated.refused.push_back(
          {.engine = std::get<0>(key),
           .model = like.model,
           .route = like.route,
           .rows = static_cast<std::int64_t>(group.size()),
           .reason = std::string(fit.status().message())});
      continue;
    }
    std::vector<CalibratedRow> fitted = FittedRows(prices, *fit);
    AddPlotRows(std::get<0>(key), like, fitted, &calibrated.plot);
    calibrated.rows.push_back(std::move(fitted));
    ProfileEntry entry = fit->entry;
    entry.engine = like.engine.name;
    entry.version = like.engine.version;
    entry.device = like.engine.device;
    entry.model = like.model;
    entry.route = like.route;
    calibrated.profile.entries.push_back(std::move(entry));
    std::string label;
    for (const std::string& one : labels) {
      label += Concat(label.empty() ? "" : ", ", one);
    }
    calibrated.labels.push_back(label.empty() ? like.model : label);
  }
  return calibrated;
}

}  // namespace tidegate::tools
