// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/validate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"
#include "tools/csv.h"
#include "tools/validate_rows.h"

namespace tidegate::tools {

using internal::Concat;
using internal::FormatBytes;
using internal::InvalidArgument;

namespace {

// Counts and ratios on the way to a ValidationCounts.
struct Tally {
  ValidationCounts counts;
  std::vector<double> ratios;

  void Add(const JudgedRow& row) {
    switch (row.outcome) {
      case RowOutcome::kSkippedOom:
        ++counts.skipped_oom;
        return;
      case RowOutcome::kRouteWrong:
        ++counts.route_wrong;
        return;
      case RowOutcome::kNotPriced:
        ++counts.not_priced;
        return;
      case RowOutcome::kAtLeast:
        ++counts.rows;
        if (row.price < row.measured) ++counts.under;
        return;
      case RowOutcome::kPriced:
        break;
    }
    ++counts.rows;
    if (SatAdd(row.price, kRoundingAllowed) < row.measured) ++counts.under;
    if (row.measured >= kRatioFrom) {
      ratios.push_back(static_cast<double>(row.price) /
                       static_cast<double>(row.measured));
    }
  }

  ValidationCounts Finish() {
    counts.ratio_rows = static_cast<std::int64_t>(ratios.size());
    if (ratios.empty()) return counts;
    std::sort(ratios.begin(), ratios.end());
    const auto rank = [&](double share) {
      const double place =
          std::ceil(share * static_cast<double>(ratios.size()));
      return ratios[static_cast<std::size_t>(place) - 1];
    };
    counts.p50 = rank(0.50);
    counts.p95 = rank(0.95);
    counts.max = ratios.back();
    return counts;
  }
};

void NoteOutliers(const JudgedRow& row, const std::string& file,
                  std::size_t line, ValidationReport* report) {
  if (row.outcome != RowOutcome::kPriced &&
      row.outcome != RowOutcome::kAtLeast) {
    return;
  }
  const ValidationOutlier here{.file = file,
                               .line = static_cast<std::int64_t>(line),
                               .price_bytes = row.price,
                               .measured_bytes = row.measured};
  const auto shortfall = [](const ValidationOutlier& o) {
    return o.measured_bytes - o.price_bytes;
  };
  const auto ratio = [](const ValidationOutlier& o) {
    return static_cast<double>(o.price_bytes) /
           static_cast<double>(o.measured_bytes);
  };
  const Bytes allowed =
      row.outcome == RowOutcome::kPriced ? kRoundingAllowed : 0;
  if (shortfall(here) > allowed &&
      (!report->most_under ||
       shortfall(here) > shortfall(*report->most_under))) {
    report->most_under = here;
  }
  if (row.outcome == RowOutcome::kPriced && row.measured >= kRatioFrom &&
      (!report->most_over || ratio(here) > ratio(*report->most_over))) {
    report->most_over = here;
  }
}

nlohmann::ordered_json ToJsonCounts(const ValidationCounts& counts) {
  const auto number = [](const std::optional<double>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
  };
  return {{"rows", counts.rows},
          {"under", counts.under},
          {"p50", number(counts.p50)},
          {"p95", number(counts.p95)},
          {"max", number(counts.max)},
          {"route_wrong", counts.route_wrong},
          {"skipped_oom", counts.skipped_oom},
          {"ratio_rows", counts.ratio_rows},
          {"not_priced", counts.not_priced}};
}

nlohmann::ordered_json ToJsonOutlier(
    const std::optional<ValidationOutlier>& outlier) {
  if (!outlier) return nullptr;
  return {{"file", outlier->file},
          {"line", outlier->line},
          {"price_bytes", outlier->price_bytes},
          {"measured_bytes", outlier->measured_bytes}};
}

std::string Ratio(const std::optional<double>& value) {
  if (!value) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", *value);
  return text;
}

std::vector<std::string> Cells(std::string engine, std::string kernel,
                               const ValidationCounts& counts) {
  return {std::move(engine),         std::move(kernel),
          Concat(counts.rows),       Concat(counts.under),
          Ratio(counts.p50),         Ratio(counts.p95),
          Ratio(counts.max),         Concat(counts.route_wrong),
          Concat(counts.skipped_oom)};
}

}  // namespace

absl::StatusOr<ValidationReport> ValidateFiles(
    const std::vector<std::string>& files, const ValidateOptions& options) {
  if (files.empty()) {
    return InvalidArgument("nothing to validate: expected a file of rows");
  }
  ValidationReport report;
  Tally total;
  EstimatorCache cache(options);
  for (const std::string& file : files) {
    std::map<std::pair<std::string, std::string>, Tally> tallies;
    TG_RETURN_IF_ERROR(JudgeFile(
        file, options, cache, [&](const JudgedRow& judged, std::size_t line) {
          tallies[{judged.engine, judged.kernel}].Add(judged);
          total.Add(judged);
          NoteOutliers(judged, file, line, &report);
        }));
    for (auto& [key, tally] : tallies) {
      ValidationGroup group;
      static_cast<ValidationCounts&>(group) = tally.Finish();
      group.file = file;
      std::tie(group.engine, group.kernel) = key;
      report.groups.push_back(std::move(group));
    }
  }
  report.total = total.Finish();
  return report;
}

std::string ToText(const ValidationReport& report) {
  std::vector<std::vector<std::string>> lines = {
      {"engine", "kernel", "rows", "under", "p50", "p95", "max", "route wrong",
       "oom skipped"}};
  std::string file;
  for (const ValidationGroup& group : report.groups) {
    if (group.file != file) {
      file = group.file;
      lines.push_back({file});
    }
    lines.push_back(Cells(group.engine, group.kernel, group));
  }
  lines.push_back(Cells("total", "", report.total));

  std::vector<std::size_t> widths(lines.front().size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; line.size() > 1 && i < line.size(); ++i) {
      widths[i] = std::max(widths[i], line[i].size());
    }
  }
  std::string out;
  for (const auto& line : lines) {
    if (line.size() == 1) {
      out += line[0];
    } else {
      for (std::size_t i = 0; i < line.size(); ++i) {
        const std::string gap(widths[i] - line[i].size(), ' ');
        // Words on the left, numbers on the right.
        out += i < 2 ? Concat(line[i], gap) : Concat(gap, line[i]);
        if (i + 1 < line.size()) out += "  ";
      }
    }
    out += "\n";
  }
  const auto outlier = [&](std::string_view what,
                           const std::optional<ValidationOutlier>& row) {
    if (!row) return;
    out += Concat(what, ": ", row->file, ":", row->line, ": priced ",
                  FormatBytes(row->price_bytes), ", measured ",
                  FormatBytes(row->measured_bytes), "\n");
  };
  outlier("most under", report.most_under);
  outlier("most over", report.most_over);
  return out;
}

std::string ToJson(const ValidationReport& report) {
  nlohmann::ordered_json groups = nlohmann::ordered_json::array();
  for (const ValidationGroup& group : report.groups) {
    nlohmann::ordered_json object = {{"file", group.file},
                                     {"engine", group.engine},
                                     {"kernel", group.kernel}};
    object.update(ToJsonCounts(group));
    groups.push_back(std::move(object));
  }
  const nlohmann::ordered_json json = {
      {"groups", std::move(groups)},
      {"total", ToJsonCounts(report.total)},
      {"most_under", ToJsonOutlier(report.most_under)},
      {"most_over", ToJsonOutlier(report.most_over)}};
  // File names need not be UTF-8.
  return json.dump(2, ' ', false,
                   nlohmann::ordered_json::error_handler_t::replace);
}

int ExitCode(const absl::StatusOr<ValidationReport>& report) {
  return report.ok() ? 0 : 2;
}

}  // namespace tidegate::tools
