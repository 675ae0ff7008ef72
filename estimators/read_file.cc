// Copyright 2026 The Tidegate Authors
// SPDX-License-Identifier: Apache-2.0

#include "estimators/read_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "estimators/text.h"

namespace tidegate::internal {

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     std::string_view what) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return InvalidArgument(path, ": expected a ", what, ", got a directory");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return absl::NotFoundError(Concat(path, ": cannot read the ", what));
  }
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

}  // namespace tidegate::internal
