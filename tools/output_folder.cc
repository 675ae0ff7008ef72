// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "tools/output_folder.h"

#include <system_error>
#include <utility>

#include "estimators/text.h"

namespace tidegate::tools {

using internal::Concat;
using internal::InvalidArgument;

absl::Status CreateFolder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error && std::filesystem::is_directory(path, error)) {
    return absl::OkStatus();
  }
  return InvalidArgument(
      "--out: expected a folder, cannot create ", path.string(),
      error ? Concat(": ", error.message()) : ": it is a file");
}

absl::Status OutputFile::Open(std::filesystem::path path) {
  path_ = std::move(path);
  file_.open(path_, std::ios::binary | std::ios::trunc);
  if (file_) return absl::OkStatus();
  return InvalidArgument(
      "--out: expected a folder that can be written, cannot create ",
      path_.string());
}

absl::Status OutputFile::Close() {
  file_.close();
  if (file_) return absl::OkStatus();
  return absl::DataLossError(
      Concat("--out: cannot write ", path_.string(), ": is the disk full?"));
}

}  // namespace tidegate::tools
