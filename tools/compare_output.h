// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// What compare shows and writes.

#ifndef TIDEGATE_TOOLS_COMPARE_OUTPUT_H_
#define TIDEGATE_TOOLS_COMPARE_OUTPUT_H_

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/output_folder.h"
#include "tools/report.h"

namespace tidegate::tools {

// {"runs": [{policy, trace, ceiling_bytes, load, seed, …simulate's fields}]}; a
// run that failed has `error` instead of those.
std::string CompareJson(const std::vector<ReportRun>& rows);

// One line a run; what is the same in all of them has no column. Errors stand
// below.
std::string CompareTable(const std::vector<ReportRun>& rows);

// Of the files in DIR/runs: NNNNN-POLICY-TRACE.json.
std::vector<std::string> RunFileNames(const std::vector<ReportRun>& rows);

// DIR/compare.json, DIR/report.html and DIR/runs/: run_file.h.
class CompareFolder {
 public:
  // Makes folders and files, so that what cannot be written shows before the
  // first run.
  static absl::StatusOr<CompareFolder> Create(
      const std::filesystem::path& path, const std::vector<ReportRun>& rows);

  std::filesystem::path RunPath(std::size_t at) const {
    return path_ / "runs" / names_[at];
  }
  absl::Status WriteRun(std::size_t at, std::string_view text) const;
  absl::Status WriteAll(const std::vector<ReportRun>& rows);

  std::string Files() const;

 private:
  std::filesystem::path path_;
  std::vector<std::string> names_;  // of the files in runs/
  std::unique_ptr<OutputFile> json_;
  std::unique_ptr<OutputFile> report_;
};

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_COMPARE_OUTPUT_H_
