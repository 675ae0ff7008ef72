// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/calibrate_page.h"

#include <algorithm>
#include <cmath>

#include "tidegate/types.h"
#include "tools/report_page.h"

namespace tidegate::tools {
namespace {

using internal::ProfileEntry;

// Steps of the fitted line, which logarithmic axes bend.
constexpr int kLineSteps = 64;

// The rows that ProfileEntry::rows counts.
bool Counts(const CalibratedRow& row) {
  return row.price.static_bytes > 0 && row.price.static_bytes < kBytesMax &&
         row.price.measured_bytes > 0;
}

void PutPoint(Bytes x, Bytes y, JsonWriter& json) {
  json.BeginArray("");
  json.Put("", x);
  json.Put("", y);
  json.End();
}

// [static, price] from the lowest price to the highest, evenly in their
// logarithms.
void PutLine(const ProfileEntry& entry, const std::vector<CalibratedRow>& rows,
             JsonWriter& json) {
  Bytes low = kBytesMax;
  Bytes high = 0;
  for (const CalibratedRow& row : rows) {
    if (!Counts(row)) continue;
    low = std::min(low, row.price.static_bytes);
    high = std::max(high, row.price.static_bytes);
  }
  json.BeginArray("line");
  Bytes last = 0;
  for (int i = 0; i <= kLineSteps && low <= high; ++i) {
    const double share = static_cast<double>(i) / kLineSteps;
    const double between =
        static_cast<double>(low) *
        std::pow(static_cast<double>(high) / static_cast<double>(low), share);
    const Bytes x =
        i == kLineSteps ? high : std::min(high, static_cast<Bytes>(between));
    if (x <= last) continue;
    last = x;
    PutPoint(x, entry.correction.Apply(x), json);
  }
  json.End();
}

void PutPoints(const std::vector<CalibratedRow>& rows, JsonWriter& json) {
  json.BeginArray("rows");
  for (const CalibratedRow& row : rows) {
    if (!Counts(row)) continue;
    json.BeginArray("");
    json.Put("", row.price.n);
    json.Put("", row.price.kv_len);
    json.Put("", row.price.static_bytes);
    json.Put("", row.price.measured_bytes);
    json.Put("", row.fitted_bytes);
    json.Put("", row.outlier ? 1 : 0);
    json.End();
  }
  json.End();
}

void PutRoute(const ProfileEntry& entry, const std::string& label,
              const std::vector<CalibratedRow>& rows, JsonWriter& json) {
  json.Put("engine", entry.engine);
  json.Put("version", entry.version);
  json.Put("device", entry.device);
  json.Put("model", entry.model);
  json.Put("label", label);
  json.Put("route", entry.route);
  json.Put("rows", entry.rows);
  json.Put("outliers", entry.outliers);
  json.Put("factor",
           static_cast<double>(entry.correction.factor_65536) / 65536);
  json.Put("fixed_bytes", entry.correction.fixed);
  json.Put("fitted_p50", entry.fitted_p50);
  json.Put("fitted_p95", entry.fitted_p95);
  json.Put("fitted_max", entry.fitted_max);
  json.Put("residual_max_bytes", entry.residual_max);
  // As they are judged: of all rows, the outliers among them.
  json.Put("rows_below",
           std::count_if(rows.begin(), rows.end(), [](const auto& row) {
             return Counts(row) && row.price.measured_bytes <= row.fitted_bytes;
           }));
  json.Put("rows_under",
           std::count_if(rows.begin(), rows.end(), [](const auto& row) {
             return Counts(row) && SatAdd(row.fitted_bytes, kRoundingAllowed) <
                                       row.price.measured_bytes;
           }));
}

}  // namespace

void PutCalibrated(const Calibrated& calibrated, JsonWriter& json) {
  json.BeginArray("routes");
  for (std::size_t i = 0; i < calibrated.profile.entries.size(); ++i) {
    json.BeginObject();
    PutRoute(calibrated.profile.entries[i], calibrated.labels[i],
             calibrated.rows[i], json);
    json.End();
  }
  json.End();
  json.BeginArray("refused");
  for (const RefusedFit& refused : calibrated.refused) {
    json.BeginObject();
    json.Put("engine", refused.engine);
    json.Put("model", refused.model);
    json.Put("route", refused.route);
    json.Put("rows", refused.rows);
    json.Put("reason", refused.reason);
    json.End();
  }
  json.End();
}

std::string CalibrationPage(std::string_view title,
                            const Calibrated& calibrated) {
  JsonWriter json;
  json.Put("date", calibrated.profile.date);
  json.BeginArray("files");
  for (const std::string& file : calibrated.profile.files) json.Put("", file);
  json.End();
  json.Put("rounding_bytes", kRoundingAllowed);
  json.Put("ratio_from_bytes", kRatioFrom);
  PutCalibrated(calibrated, json);
  json.BeginArray("charts");
  for (std::size_t i = 0; i < calibrated.profile.entries.size(); ++i) {
    json.BeginObject();
    PutLine(calibrated.profile.entries[i], calibrated.rows[i], json);
    PutPoints(calibrated.rows[i], json);
    json.End();
  }
  json.End();
  return FillPage("calibration.html", title, json.ToLine());
}

}  // namespace tidegate::tools
