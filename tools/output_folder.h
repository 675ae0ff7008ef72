// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0
//
// Files of --out.

#ifndef TIDEGATE_TOOLS_OUTPUT_FOLDER_H_
#define TIDEGATE_TOOLS_OUTPUT_FOLDER_H_

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace tidegate::tools {

// Makes the folder and those above it. InvalidArgument when it cannot be.
absl::Status CreateFolder(const std::filesystem::path& path);

// A file of the folder. Opened before the work starts, so that a folder that
// cannot be written costs no simulated hour.
class OutputFile {
 public:
  // InvalidArgument when it cannot be written.
  absl::Status Open(std::filesystem::path path);
  void Write(std::string_view text) { file_ << text; }
  // DataLoss when not everything was written.
  absl::Status Close();
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace tidegate::tools

#endif  // TIDEGATE_TOOLS_OUTPUT_FOLDER_H_
