// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// DIR/runs/NNNNN-POLICY-TRACE.json: one run of a comparison, with all that its
// table and its page need. So a comparison that was interrupted goes on, and
// runs may come from several machines.

#ifndef TIDEGATE_TOOLS_RUN_FILE_H_
#define TIDEGATE_TOOLS_RUN_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "tools/report.h"

namespace tidegate::tools {

// FNV-1a over whatever is added, each thing with its length.
class Fingerprint {
 public:
  void Add(std::string_view bytes);
  void Add(std::int64_t number);
  std::string Hex() const;

 private:
  std::uint64_t hash_ = 14'695'981'039'346'656'037u;
};

// PutRun's fields; `inputs`, a fingerprint of what the run was made from;
// `charts`; and `records`: columns and one row a request.
std::string RunFileText(const ReportRun& row, std::string_view inputs);

// Completes `row`, which has the run's names and place in the sweep, from a
// file that holds this very run, whole and with a result. False, and nothing
// changes, for any other.
bool ReadRunFile(const std::filesystem::path& path, std::string_view inputs,
                 ReportRun* row);

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_RUN_FILE_H_
