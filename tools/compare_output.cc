// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/compare_output.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "estimators/text.h"
#include "tidegate/status.h"
#include "tools/output.h"

namespace tidegate::tools {
namespace {

using internal::Concat;
using internal::FormatBytes;

std::string Stem(const std::string& name) {
  const std::string stem = std::filesystem::path(name).stem().string();
  return stem.empty() ? name : stem;
}

// Names without folders and extensions, unless two of them end alike.
std::map<std::string, std::string> Labels(const std::vector<ReportRun>& rows,
                                          std::string ReportRun::*name) {
  std::map<std::string, std::string> labels;
  std::map<std::string, std::set<std::string>> of_stem;
  for (const ReportRun& row : rows) of_stem[Stem(row.*name)].insert(row.*name);
  for (const auto& [stem, names] : of_stem) {
    for (const std::string& one : names) {
      labels[one] = names.size() == 1 ? stem : one;
    }
  }
  return labels;
}

template <typename Get>
bool Varies(const std::vector<ReportRun>& rows, Get get) {
  return std::any_of(rows.begin(), rows.end(), [&](const ReportRun& row) {
    return get(row) != get(rows.front());
  });
}

// What a file system takes everywhere.
std::string FileName(const std::string& name) {
  std::string safe = Stem(name).substr(0, 60);
  for (char& c : safe) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c >= '0' && c <= '9') || c == '.' || c == '_';
    if (!plain) c = '-';
  }
  return safe;
}

}  // namespace

std::string CompareJson(const std::vector<ReportRun>& rows) {
  JsonWriter json;
  json.BeginArray("runs");
  for (const ReportRun& row : rows) {
    json.BeginObject();
    PutRun(row, json);
    json.End();
  }
  json.End();
  return json.ToString();
}

std::string CompareTable(const std::vector<ReportRun>& rows) {
  const auto policies = Labels(rows, &ReportRun::policy);
  const auto traces = Labels(rows, &ReportRun::trace);
  struct Column {
    std::string title;
    Align align;
    std::function<std::string(const ReportRun&)> text;
    bool of_result;
  };
  std::vector<Column> columns;
  const auto add = [&](std::string title, Align align, auto text) {
    columns.push_back({std::move(title), align, text, false});
  };
  const auto add_result = [&](std::string title, auto text) {
    columns.push_back({std::move(title), Align::kRight,
                       [text](const ReportRun& row) {
                         return row.result.has_value()
                                    ? std::string(text(*row.result))
                                    : std::string("-");
                       },
                       true});
  };
  if (Varies(rows, [](const ReportRun& row) { return row.trace; })) {
    add("trace", Align::kLeft,
        [&](const ReportRun& row) { return traces.at(row.trace); });
  }
  if (Varies(rows, [](const ReportRun& row) { return row.ceiling_bytes; })) {
    add("ceiling", Align::kRight,
        [](const ReportRun& row) { return FormatBytes(row.ceiling_bytes); });
  }
  if (Varies(rows, [](const ReportRun& row) { return row.load; })) {
    add("load", Align::kRight,
        [](const ReportRun& row) { return Decimal(row.load); });
  }
  if (Varies(rows, [](const ReportRun& row) { return row.seed; })) {
    add("seed", Align::kRight,
        [](const ReportRun& row) { return Concat(row.seed); });
  }
  add("policy", Align::kLeft,
      [&](const ReportRun& row) { return policies.at(row.policy); });
  using Result = SimulationResult;
  add_result("finished", [](const Result& r) {
    return Concat(Grouped(r.finished), " of ", Grouped(r.requests));
  });
  add_result("out of memory",
             [](const Result& r) { return Grouped(r.out_of_memory); });
  add_result("tokens/s",
             [](const Result& r) { return Number(r.tokens_per_s, 1); });
  add_result("goodput/s",
             [](const Result& r) { return Number(r.goodput_per_s, 3); });
  add_result("TTFT p50",
             [](const Result& r) { return Number(r.ttft_p50_s, 3) + " s"; });
  add_result("TTFT p99",
             [](const Result& r) { return Number(r.ttft_p99_s, 3) + " s"; });
  add_result("ITL p99",
             [](const Result& r) { return Number(r.itl_s.p99, 3) + " s"; });
  add_result("peak", [](const Result& r) { return FormatBytes(r.peak_bytes); });

  std::vector<std::string> header;
  std::vector<Align> align;
  for (const Column& column : columns) {
    header.push_back(column.title);
    align.push_back(column.align);
  }
  TextTable table(header, align);
  std::string errors;
  for (const ReportRun& row : rows) {
    std::vector<std::string> cells;
    std::string which;
    for (const Column& column : columns) {
      cells.push_back(column.text(row));
      if (!column.of_result) {
        which +=
            Concat(which.empty() ? "" : ", ", column.title, " ", cells.back());
      }
    }
    table.Add(std::move(cells));
    if (!row.result.has_value()) {
      errors += Concat("failed: ", which, ": ", row.error, "\n");
    }
  }
  return table.ToString() + (errors.empty() ? "" : "\n") + errors;
}

std::vector<std::string> RunFileNames(const std::vector<ReportRun>& rows) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    // Five digits, so that names sort as the runs do.
    const std::string number = std::to_string(100'000 + i + 1).substr(1);
    names.push_back(Concat(number, "-", FileName(rows[i].policy), "-",
                           FileName(rows[i].trace), ".json"));
  }
  return names;
}

absl::StatusOr<CompareFolder> CompareFolder::Create(
    const std::filesystem::path& path, const std::vector<ReportRun>& rows) {
  CompareFolder folder;
  folder.path_ = path;
  folder.json_ = std::make_unique<OutputFile>();
  folder.report_ = std::make_unique<OutputFile>();
  TG_RETURN_IF_ERROR(CreateFolder(path / "runs"));
  TG_RETURN_IF_ERROR(folder.json_->Open(path / "compare.json"));
  TG_RETURN_IF_ERROR(folder.report_->Open(path / "report.html"));
  folder.names_ = RunFileNames(rows);
  return folder;
}

absl::Status CompareFolder::WriteRun(std::size_t at,
                                     std::string_view text) const {
  OutputFile file;
  TG_RETURN_IF_ERROR(file.Open(RunPath(at)));
  file.Write(text);
  return file.Close();
}

absl::Status CompareFolder::WriteAll(const std::vector<ReportRun>& rows) {
  json_->Write(CompareJson(rows));
  TG_RETURN_IF_ERROR(json_->Close());
  report_->Write(ReportPage("Tidegate comparison", rows));
  return report_->Close();
}

std::string CompareFolder::Files() const {
  return Concat(json_->path(), ", ", report_->path(), ", ",
                Grouped(static_cast<std::int64_t>(names_.size())),
                names_.size() == 1 ? " file in " : " files in ",
                (path_ / "runs").string());
}

}  // namespace tidegate::tools
